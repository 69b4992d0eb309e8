#include "file_object.h"

#include <utility>

#include "addon_data.h"
#include "arguments.h"

namespace gpt2::binding {

Napi::Function FileObject::define(Napi::Env env) {
  return DefineClass(
      env, "NativeFile",
      {InstanceAccessor<&FileObject::size>("size"), InstanceMethod<&FileObject::read>("read"),
       InstanceMethod<&FileObject::close>("close")});
}

Napi::Value FileObject::open(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return AddonData::of(env).delivery.runApart(
      std::make_unique<Task>(env), std::make_shared<CancelFlag>(false),
      [path = toString(info[0])](uint64_t, const CancelFlag&) -> Delivery::Result {
        auto file = std::make_shared<const InputFile>(path);
        return [file](Napi::Env result, Task&) mutable -> Napi::Value {
          using External = Napi::External<std::shared_ptr<const InputFile>>;
          return AddonData::of(result).fileConstructor.New({External::New(result, &file)});
        };
      });
}

FileObject::FileObject(const Napi::CallbackInfo& info)
    : ObjectWrap(info),
      file_(*info[0].As<Napi::External<std::shared_ptr<const InputFile>>>().Data()) {}

const std::shared_ptr<const InputFile>& FileObject::file() const {
  if (!file_) throw toJavaScript(Env(), Error(code::kInternal, "the file was closed"));
  return file_;
}

Napi::Value FileObject::size(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(file()->size()));
}

Napi::Value FileObject::read(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto offset = static_cast<uint64_t>(toInteger(info[0]));
  auto out = info[1].As<Napi::Uint8Array>();
  auto task = std::make_unique<Task>(env);
  task->keep(out);
  return AddonData::of(env).delivery.runApart(
      std::move(task), toCancelFlag(info[2]),
      [file = file(), offset, data = out.Data(), length = out.ByteLength()](
          uint64_t, const CancelFlag& cancelled) -> Delivery::Result {
        file->read(offset, length, data, &cancelled);
        return [](Napi::Env result, Task&) { return result.Undefined(); };
      });
}

}  // namespace gpt2::binding
