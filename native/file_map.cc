#include "file_map.h"

#include <limits>
#include <new>
#include <utility>

namespace gpt2 {

namespace {

// The largest vector register is 64 bytes wide.
constexpr std::align_val_t kAlignment{64};

}  // namespace

FileMap::FileMap(const std::string& path, bool map, const CancelFlag* cancelled) {
  auto file = std::make_unique<InputFile>(path);
  if (file->size() == 0) return;
  if (file->size() > std::numeric_limits<size_t>::max()) {
    throw Error(code::kOutOfMemory, path + ": larger than the address space");
  }
  size_ = static_cast<size_t>(file->size());
  if (map) {
    data_ = file->map();
    if (data_ == nullptr) throw Error(code::kFileUnreadable, path + ": cannot be mapped");
    file_ = std::move(file);
    return;
  }
  data_ = static_cast<uint8_t*>(::operator new(size_, kAlignment, std::nothrow));
  if (data_ == nullptr) {
    throw Error(code::kOutOfMemory,
                path + ": no memory for its " + std::to_string(size_) + " bytes");
  }
  try {
    file->read(0, size_, data_, cancelled);
  } catch (const Error&) {
    release();
    throw;
  }
}

FileMap::~FileMap() { release(); }

void FileMap::checkUnchanged() const {
  if (file_) file_->checkUnchanged();
}

void FileMap::release() noexcept {
  if (file_) {
    InputFile::unmap(data_, size_);
  } else {
    ::operator delete(data_, kAlignment);
  }
}

}  // namespace gpt2
