#include "conversion.h"

#include <utility>
#include <vector>

#include "addon_data.h"
#include "arguments.h"
#include "file_object.h"
#include "gguf/write_gguf.h"
#include "tagged_object.h"

namespace gpt2::binding {

namespace {

TensorPart toTensorPart(const Napi::Object& object) {
  TensorPart part{};
  part.file = unwrapTagged<FileObject>(object.Get("file"), "a NativeFile").file();
  part.offset = static_cast<uint64_t>(toInteger(object.Get("offset")));
  part.type = toTensorType(object.Get("type"));
  part.rows = toInteger(object.Get("rows"));
  part.columns = toInteger(object.Get("columns"));
  part.transpose = toBoolean(object.Get("transpose"));
  const Napi::Value rowStride = object.Get("rowStride");
  const Napi::Value columnStride = object.Get("columnStride");
  part.rowStride = rowStride.IsUndefined() ? part.columns : toInteger(rowStride);
  part.columnStride = columnStride.IsUndefined() ? 1 : toInteger(columnStride);
  return part;
}

std::vector<TensorPart> toTensorParts(const Napi::Array& list) {
  std::vector<TensorPart> parts;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    parts.push_back(toTensorPart(toObject(list.Get(i))));
  }
  return parts;
}

std::vector<LowRankUpdate> toUpdates(const Napi::Array& list) {
  std::vector<LowRankUpdate> updates;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Object object = toObject(list.Get(i));
    updates.push_back(
        {toTensorPart(toObject(object.Get("left"))), toTensorPart(toObject(object.Get("right"))),
         static_cast<float>(toNumber(object.Get("factor"))), toInteger(object.Get("firstRow"))});
  }
  return updates;
}

DrawnNumbers toDrawnNumbers(const Napi::Object& object) {
  return {static_cast<uint64_t>(toInteger(object.Get("seed"))),
          static_cast<uint64_t>(toInteger(object.Get("stream"))), toNumber(object.Get("deviation")),
          toInteger(object.Get("rows")), toInteger(object.Get("columns"))};
}

EqualNumbers toEqualNumbers(const Napi::Object& object) {
  return {static_cast<float>(toNumber(object.Get("value"))), toInteger(object.Get("count"))};
}

TensorTarget toTensorTarget(const Napi::Object& object) {
  TensorTarget target{};
  target.name = toString(object.Get("name"));
  target.type = toTensorType(object.Get("type"));
  const Napi::Value parts = object.Get("parts");
  const Napi::Value drawn = object.Get("drawn");
  if (!parts.IsUndefined()) {
    target.numbers = toTensorParts(toArray(parts));
    if (const Napi::Value updates = object.Get("updates"); !updates.IsUndefined()) {
      target.updates = toUpdates(toArray(updates));
    }
    if (const Napi::Value scale = object.Get("scale"); !scale.IsUndefined()) {
      const Napi::Object fields = toObject(scale);
      target.scale = {static_cast<float>(toNumber(fields.Get("factor"))),
                      toInteger(fields.Get("count"))};
    }
  } else if (!drawn.IsUndefined()) {
    target.numbers = toDrawnNumbers(toObject(drawn));
  } else {
    target.numbers = toEqualNumbers(toObject(object.Get("equal")));
  }
  return target;
}

}  // namespace

Napi::Value writeGguf(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string path = toString(info[0]);
  const Napi::Uint8Array header = toBytes(info[1]);
  std::vector<uint8_t> headerBytes(header.Data(), header.Data() + header.ByteLength());
  const Napi::Array list = toArray(info[2]);
  std::vector<TensorTarget> tensors;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    tensors.push_back(toTensorTarget(toObject(list.Get(i))));
  }

  const auto threads = static_cast<int>(toInteger(info[3], ThreadPool::kMaxThreads));
  auto call = std::make_unique<AsyncCall>(env);
  call->listener = Napi::Persistent(toFunction(info[4]));
  AsyncCalls& calls = AddonData::of(env).calls;
  return calls.run(
      std::move(call), toCancelFlag(info[5]),
      [&calls, path, headerBytes = std::move(headerBytes), tensors = std::move(tensors), threads](
          AsyncCall& running, const CancelFlag& cancelled) -> MakeResult {
        gpt2::writeGguf(
            path, headerBytes, tensors, threads,
            [&](uint64_t done) { calls.notify(running, static_cast<double>(done)); }, &cancelled);
        return [](Napi::Env result, AsyncCall&) { return result.Undefined(); };
      });
}

}  // namespace gpt2::binding
