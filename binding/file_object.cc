#include "file_object.h"

#include <utility>

#include "addon_data.h"
#include "arguments.h"
#include "tagged_object.h"

namespace gpt2::binding {

namespace {

struct FileInit {
  std::shared_ptr<const InputFile> file;
  static constexpr napi_type_tag kTag{0x5d0c3b1f77a94e26, 0xa3f8e1907bc2d458};
};

}  // namespace

Napi::Function FileObject::define(Napi::Env env) {
  return DefineClass(
      env, "NativeFile",
      {InstanceAccessor<&FileObject::size>("size"), InstanceMethod<&FileObject::read>("read"),
       InstanceMethod<&FileObject::close>("close")});
}

Napi::Value FileObject::open(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return AddonData::of(env).calls.run(
      std::make_unique<AsyncCall>(env), std::make_shared<CancelFlag>(false),
      [path = toString(info[0])](AsyncCall&, const CancelFlag&) -> MakeResult {
        FileInit init{std::make_shared<const InputFile>(path)};
        return [init](Napi::Env result, AsyncCall&) mutable -> Napi::Value {
          return AddonData::of(result).fileConstructor.New({toExternal(result, init)});
        };
      });
}

FileObject::FileObject(const Napi::CallbackInfo& info)
    : ObjectWrap(info), file_(fromExternal<FileInit>(info).file) {
  Value().TypeTag(&kTag);
}

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
  auto out = toBytes(info[1]);
  auto call = std::make_unique<AsyncCall>(env);
  call->keep(out);
  return AddonData::of(env).calls.run(
      std::move(call), toCancelFlag(info[2]),
      [file = file(), offset, data = out.Data(), length = out.ByteLength()](
          AsyncCall&, const CancelFlag& cancelled) -> MakeResult {
        file->read(offset, length, data, &cancelled);
        return [](Napi::Env result, AsyncCall&) { return result.Undefined(); };
      });
}

}  // namespace gpt2::binding
