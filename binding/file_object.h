#pragma once

#include <napi.h>

#include <memory>

#include "io/input_file.h"

namespace gpt2::binding {

// A file that JavaScript reads in parts. Reads run on a borrowed worker, not on libuv's thread
// pool, whose four threads the host needs for its own files.
class FileObject : public Napi::ObjectWrap<FileObject> {
 public:
  static Napi::Function define(Napi::Env env);
  // openFile(path) → Promise<FileObject>
  static Napi::Value open(const Napi::CallbackInfo& info);

  explicit FileObject(const Napi::CallbackInfo& info);

  static constexpr napi_type_tag kTag{0xc80e8d82a5a2931c, 0x9ba16f1ff5e29f55};

  // Throws a JavaScript error after close().
  const std::shared_ptr<const InputFile>& file() const;

 private:
  Napi::Value size(const Napi::CallbackInfo& info);
  // read(offset, out, cancellation) → Promise<undefined>
  Napi::Value read(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo&) { file_.reset(); }

  std::shared_ptr<const InputFile> file_;
};

}  // namespace gpt2::binding
