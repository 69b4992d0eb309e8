#include "lock_file.h"

#include <utility>

#include "addon_data.h"
#include "arguments.h"
#include "io/file_lock.h"

namespace gpt2::binding {

Napi::Value lockFile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return AddonData::of(env).calls.run(
      std::make_unique<AsyncCall>(env), std::make_shared<CancelFlag>(false),
      [path = toString(info[0])](AsyncCall&, const CancelFlag&) -> MakeResult {
        std::shared_ptr<FileLock> lock = FileLock::tryAcquire(path);
        return [lock](Napi::Env result, AsyncCall&) mutable -> Napi::Value {
          if (!lock) return result.Undefined();
          return Napi::Function::New(
              result, [held = std::move(lock)](const Napi::CallbackInfo&) mutable { held.reset(); },
              "release");
        };
      });
}

}  // namespace gpt2::binding
