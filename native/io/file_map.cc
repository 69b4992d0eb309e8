#include "io/file_map.h"

#include <limits>
#include <new>
#include <utility>

namespace gpt2 {

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
  try {
    pages_ = Pages(size_);
  } catch (const std::bad_alloc&) {
    throw Error(code::kOutOfMemory,
                path + ": no memory for its " + std::to_string(size_) + " bytes");
  }
  preferLargePages(pages_.data(), size_);
  file->read(0, size_, pages_.data(), cancelled);
  data_ = pages_.data();
}

FileMap::~FileMap() {
  if (file_) InputFile::unmap(data_, size_);
}

void FileMap::checkUnchanged() const {
  if (file_) file_->checkUnchanged();
}

}  // namespace gpt2
