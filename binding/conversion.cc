#include "conversion.h"

#include <utility>
#include <vector>

#include "addon_data.h"
#include "arguments.h"
#include "file_object.h"
#include "gguf/write_gguf.h"

namespace gpt2::binding {

namespace {

TensorPart toTensorPart(const Napi::Object& object) {
  TensorPart part{};
  part.file = FileObject::Unwrap(object.Get("file").As<Napi::Object>())->file();
  part.offset = static_cast<uint64_t>(toInteger(object.Get("offset")));
  part.type = toTensorType(object.Get("type"));
  part.rows = toInteger(object.Get("rows"));
  part.columns = toInteger(object.Get("columns"));
  part.transpose = toBoolean(object.Get("transpose"));
  return part;
}

std::vector<TensorPart> toTensorParts(const Napi::Array& list) {
  std::vector<TensorPart> parts;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    parts.push_back(toTensorPart(list.Get(i).As<Napi::Object>()));
  }
  return parts;
}

DrawnNumbers toDrawnNumbers(const Napi::Object& object) {
  return {static_cast<uint64_t>(toInteger(object.Get("seed"))),
          static_cast<uint64_t>(toInteger(object.Get("stream"))),
          object.Get("deviation").As<Napi::Number>().DoubleValue(), toInteger(object.Get("rows")),
          toInteger(object.Get("columns"))};
}

EqualNumbers toEqualNumbers(const Napi::Object& object) {
  return {object.Get("value").As<Napi::Number>().FloatValue(), toInteger(object.Get("count"))};
}

TensorTarget toTensorTarget(const Napi::Object& object) {
  TensorTarget target{};
  target.name = toString(object.Get("name"));
  target.type = toTensorType(object.Get("type"));
  const Napi::Value parts = object.Get("parts");
  const Napi::Value drawn = object.Get("drawn");
  if (!parts.IsUndefined()) {
    target.numbers = toTensorParts(parts.As<Napi::Array>());
  } else if (!drawn.IsUndefined()) {
    target.numbers = toDrawnNumbers(drawn.As<Napi::Object>());
  } else {
    target.numbers = toEqualNumbers(object.Get("equal").As<Napi::Object>());
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

  const auto threads = static_cast<int>(toInteger(info[3]));
  auto task = std::make_unique<Task>(env);
  task->listener = Napi::Persistent(info[4].As<Napi::Function>());
  Delivery& delivery = AddonData::of(env).delivery;
  return delivery.runApart(
      std::move(task), toCancelFlag(info[5]),
      [&delivery, path, headerBytes = std::move(headerBytes), tensors = std::move(tensors),
       threads](uint64_t number, const CancelFlag& cancelled) -> Delivery::Result {
        gpt2::writeGguf(
            path, headerBytes, tensors, threads,
            [&](uint64_t done) { delivery.deliver(number, static_cast<double>(done)); },
            &cancelled);
        return [](Napi::Env result, Task&) { return result.Undefined(); };
      });
}

}  // namespace gpt2::binding
