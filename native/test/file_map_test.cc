#include "io/file_map.h"

#include <cstdint>
#include <filesystem>
#include <string>

#include "changing_file.h"
#include "check.h"
#include "temporary_file.h"

using gpt2::CancelFlag;
using gpt2::FileMap;
using gpt2::test::Change;
using gpt2::test::TemporaryFile;
namespace code = gpt2::code;

namespace {

std::string bytesOf(const FileMap& file) {
  return {reinterpret_cast<const char*>(file.data()), file.size()};
}

}  // namespace

TEST(holdsTheBytesOfTheFile) {
  for (const size_t size : {1U, 63U, 4096U, 100001U}) {
    std::string bytes(size, 'x');
    bytes.back() = 'y';
    const TemporaryFile path(bytes);
    const FileMap mapped(path.path(), true);
    const FileMap copied(path.path(), false);
    CHECK(bytesOf(mapped) == bytes);
    CHECK(bytesOf(copied) == bytes);
    CHECK_EQUAL(mapped.anonymousBytes(), 0U);
    CHECK_EQUAL(copied.anonymousBytes(), size);
  }
}

// ggml requires weights at multiples of 32, and vector registers are up to 64 bytes wide.
TEST(startsAtAMultipleOf64) {
  const TemporaryFile path("bytes");
  for (const bool map : {true, false}) {
    const FileMap file(path.path(), map);
    CHECK_EQUAL(reinterpret_cast<uintptr_t>(file.data()) % 64, 0U);
  }
}

TEST(anEmptyFileHasNoBytes) {
  const TemporaryFile path("");
  for (const bool map : {true, false}) {
    const FileMap file(path.path(), map);
    CHECK_EQUAL(file.size(), 0U);
    CHECK_EQUAL(file.anonymousBytes(), 0U);
    file.checkUnchanged();
  }
}

TEST(opensRegularFilesOnly) {
  const TemporaryFile path("bytes");
  const TemporaryFile missing;
  for (const bool map : {true, false}) {
    CHECK_ERROR(code::kFileNotFound, FileMap(missing.path(), map));
    CHECK_ERROR(code::kFileNotFound, FileMap(path.path() + '\0', map));
    CHECK_ERROR(code::kFileUnreadable,
                FileMap(std::filesystem::temp_directory_path().u8string(), map));
  }
}

// Mapping reads nothing, so the flag has no effect on it.
TEST(aCancelFlagStopsTheReading) {
  const TemporaryFile path("bytes");
  const CancelFlag cancelled{true};
  CHECK_ERROR(code::kAborted, FileMap(path.path(), false, &cancelled));
  CHECK_EQUAL(bytesOf(FileMap(path.path(), true, &cancelled)), "bytes");
}

#ifndef _WIN32

TEST(changedBytesAreDetectedIfMapped) {
  for (const Change& change : gpt2::test::changesOfTheBytes()) {
    const TemporaryFile path("some bytes");
    gpt2::test::backdate(path.path());
    const FileMap mapped(path.path(), true);
    const FileMap copied(path.path(), false);
    mapped.checkUnchanged();
    change(path.path());
    CHECK_ERROR(code::kFileUnreadable, mapped.checkUnchanged());
    copied.checkUnchanged();
    CHECK_EQUAL(bytesOf(copied), "some bytes");
  }
}

TEST(renamingAndDeletingHaveNoEffect) {
  for (const Change& change : gpt2::test::changesOfTheName()) {
    const TemporaryFile path("some bytes");
    const FileMap mapped(path.path(), true);
    change(path.path());
    mapped.checkUnchanged();
    CHECK_EQUAL(bytesOf(mapped), "some bytes");
  }
}

#else

TEST(changedBytesAreDetectedIfMapped) { SKIP("Windows does not let others change an open file"); }
TEST(renamingAndDeletingHaveNoEffect) { SKIP("Windows does not let others change an open file"); }

#endif
