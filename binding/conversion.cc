#include "conversion.h"

#include <utility>
#include <vector>

#include "addon_data.h"
#include "arguments.h"
#include "file_object.h"
#include "write_gguf.h"

namespace gpt2::binding {

namespace {

TensorSource toTensorSource(const Napi::Object& object) {
  TensorSource source{};
  source.file = FileObject::Unwrap(object.Get("file").As<Napi::Object>())->file();
  source.offset = static_cast<uint64_t>(toInteger(object.Get("offset")));
  source.type = toTensorType(object.Get("type"));
  source.rows = toInteger(object.Get("rows"));
  source.columns = toInteger(object.Get("columns"));
  source.transpose = toBoolean(object.Get("transpose"));
  return source;
}

TensorTarget toTensorTarget(const Napi::Object& object) {
  TensorTarget target{};
  target.name = toString(object.Get("name"));
  target.type = toTensorType(object.Get("type"));
  const Napi::Value source = object.Get("source");
  if (source.IsUndefined()) {
    target.zeros = toInteger(object.Get("zeros"));
  } else {
    target.source = toTensorSource(source.As<Napi::Object>());
  }
  return target;
}

}  // namespace

Napi::Value writeGguf(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string path = toString(info[0]);
  const auto header = info[1].As<Napi::Uint8Array>();
  std::vector<uint8_t> headerBytes(header.Data(), header.Data() + header.ByteLength());
  const auto list = info[2].As<Napi::Array>();
  std::vector<TensorTarget> tensors;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    tensors.push_back(toTensorTarget(list.Get(i).As<Napi::Object>()));
  }

  auto task = std::make_unique<Task>(env);
  task->listener = Napi::Persistent(info[3].As<Napi::Function>());
  Delivery& delivery = AddonData::of(env).delivery;
  return delivery.runApart(
      std::move(task), toCancelFlag(info[4]),
      [&delivery, path, headerBytes = std::move(headerBytes), tensors = std::move(tensors)](
          uint64_t number, const CancelFlag& cancelled) -> Delivery::Result {
        gpt2::writeGguf(
            path, headerBytes, tensors,
            [&](uint64_t done) { delivery.deliver(number, static_cast<double>(done)); },
            &cancelled);
        return [](Napi::Env result, Task&) { return result.Undefined(); };
      });
}

}  // namespace gpt2::binding
