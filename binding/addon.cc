#include <ggml.h>
#include <napi.h>

#include "addon_data.h"
#include "arguments.h"
#include "base/cpu_count.h"
#include "base/logger.h"
#include "base/processor.h"
#include "cancellation.h"
#include "conversion.h"
#include "file_object.h"
#include "gguf_object.h"
#include "gpt2_modules.h"
#include "kernels/kernels.h"
#include "lock_file.h"
#include "model_object.h"
#include "ops/device.h"
#include "session_object.h"

namespace gpt2::binding {

namespace {

// [elements in a block, bytes of a block] of a tensor type
Napi::Value blockSize(const Napi::CallbackInfo& info) {
  const ggml_type type = toTensorType(info[0]);
  Napi::Array pair = Napi::Array::New(info.Env(), 2);
  pair.Set(0U, static_cast<double>(ggml_blck_size(type)));
  pair.Set(1U, static_cast<double>(ggml_type_size(type)));
  return pair;
}

// { threads, devices: string[], kernels: { level, missing, isChosen }[] }
Napi::Value describeSystem(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Object system = Napi::Object::New(env);
  system.Set("threads", physicalCpuCount());
  Napi::Array devices = Napi::Array::New(env);
  for (const std::string& device : Device::available()) devices.Set(devices.Length(), device);
  system.Set("devices", devices);
  Napi::Array levels = Napi::Array::New(env);
  for (const auto& [level, missing] : kernelLevels()) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("level", level);
    object.Set("missing", missing);
    object.Set("isChosen", level == kernels().level);
    levels.Set(levels.Length(), object);
  }
  system.Set("kernels", levels);
  return system;
}

// process.exit() runs no cleanup hooks of the environment. exit() then destroys the static objects
// that the worker threads are using. The handler is registered here and not in JavaScript, where
// `process` may be the copy that Jest makes for a test file, which emits no events.
void stopWorkersAtExit(Napi::Env env) {
  const auto stop = Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
    AddonData::of(info.Env()).calls.workers().stopAll();
  });
  const auto process = env.Global().Get("process").As<Napi::Object>();
  const auto on = process.Get("on").As<Napi::Function>();
  on.Call(process, {Napi::String::New(env, "exit"), stop});
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  // Otherwise the first model would end the process with an illegal instruction.
  if (const std::string missing = missingInstructionSets(); !missing.empty()) {
    throw toJavaScript(env,
                       Error(code::kAddonMismatch, "it was built for a processor with " + missing +
                                                       ", which this machine's does not have"));
  }
  redirectLog();

  auto* data = new AddonData(env);
  env.SetInstanceData(data);
  data->modelConstructor = Napi::Persistent(ModelObject::define(env));
  data->sessionConstructor = Napi::Persistent(SessionObject::define(env));
  data->fileConstructor = Napi::Persistent(FileObject::define(env));

  exports.Set("version", GPT2_NATIVE_VERSION);
  exports.Set("Cancellation", Cancellation::define(env));
  exports.Set("openModel", Napi::Function::New<ModelObject::open>(env));
  exports.Set("inspectGguf", Napi::Function::New<inspectGguf>(env));
  exports.Set("openFile", Napi::Function::New<FileObject::open>(env));
  exports.Set("lockFile", Napi::Function::New<lockFile>(env));
  exports.Set("writeGguf", Napi::Function::New<writeGguf>(env));
  exports.Set("describeSystem", Napi::Function::New<describeSystem>(env));
  exports.Set("gpt2Modules", gpt2Modules(env));
  exports.Set("blockSize", Napi::Function::New<blockSize>(env));
  stopWorkersAtExit(env);
  return exports;
}

}  // namespace

}  // namespace gpt2::binding

using gpt2::binding::initialize;
NODE_API_MODULE(gpt2_native, initialize)
