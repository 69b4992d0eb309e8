#include <ggml.h>
#include <napi.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "addon_data.h"
#include "arguments.h"
#include "cancellation.h"
#include "encode_tensor.h"
#include "gguf_object.h"
#include "model_object.h"
#include "session_object.h"

namespace gpt2::binding {

namespace {

// encodeTensor(bytes, sourceType, rows, columns, transpose, type, cancellation) →
// Promise<Uint8Array>
Napi::Value encodeTensor(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto bytes = info[0].As<Napi::Uint8Array>();
  SourceTensor source{};
  source.data = bytes.Data();
  source.byteSize = bytes.ByteLength();
  source.type = toTensorType(info[1]);
  source.rows = toInteger(info[2]);
  source.columns = toInteger(info[3]);
  source.transpose = toBoolean(info[4]);
  const ggml_type type = toTensorType(info[5]);

  auto task = std::make_unique<Task>(env);
  task->keep(bytes);
  Delivery& delivery = AddonData::of(env).delivery;
  return delivery.run(delivery.commonEngine(), std::move(task), toCancelFlag(info[6]),
                      [source, type](uint64_t, const CancelFlag&) -> Delivery::Result {
                        auto encoded = std::make_shared<const std::vector<uint8_t>>(
                            gpt2::encodeTensor(source, type));
                        return [encoded](Napi::Env result, Task&) -> Napi::Value {
                          Napi::Uint8Array array = Napi::Uint8Array::New(result, encoded->size());
                          std::copy(encoded->begin(), encoded->end(), array.Data());
                          return array;
                        };
                      });
}

// [elements in a block, bytes of a block] of a tensor type
Napi::Value blockSize(const Napi::CallbackInfo& info) {
  const ggml_type type = toTensorType(info[0]);
  Napi::Array pair = Napi::Array::New(info.Env(), 2);
  pair.Set(0U, static_cast<double>(ggml_blck_size(type)));
  pair.Set(1U, static_cast<double>(ggml_type_size(type)));
  return pair;
}

// Node frees no environment at process.exit(), so that no cleanup hook runs; exit() then destroys
// the static objects that the engines' threads are using.
void stopEngines(const Napi::CallbackInfo& info) {
  AddonData::of(info.Env()).delivery.stopEngines();
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  // ggml's lines belong neither on the host's stdout nor on its stderr.
  ggml_log_set([](ggml_log_level, const char*, void*) {}, nullptr);

  auto* data = new AddonData(env);
  env.SetInstanceData(data);
  data->modelConstructor = Napi::Persistent(ModelObject::define(env));
  data->sessionConstructor = Napi::Persistent(SessionObject::define(env));

  exports.Set("version", GPT2_NATIVE_VERSION);
  exports.Set("Cancellation", Cancellation::define(env));
  exports.Set("openModel", Napi::Function::New<ModelObject::open>(env));
  exports.Set("inspectGguf", Napi::Function::New<inspectGguf>(env));
  exports.Set("encodeTensor", Napi::Function::New<encodeTensor>(env));
  exports.Set("blockSize", Napi::Function::New<blockSize>(env));
  exports.Set("stopEngines", Napi::Function::New<stopEngines>(env));
  return exports;
}

}  // namespace

}  // namespace gpt2::binding

using gpt2::binding::initialize;
NODE_API_MODULE(gpt2_native, initialize)
