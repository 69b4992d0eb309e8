#include "io/input_file.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "changing_file.h"
#include "check.h"
#include "random_numbers.h"
#include "temporary_file.h"

using gpt2::CancelFlag;
using gpt2::InputFile;
using gpt2::test::Change;
using gpt2::test::TemporaryFile;
namespace code = gpt2::code;

namespace {

std::string randomBytes(size_t count) {
  gpt2::test::RandomNumbers random(3);
  std::string bytes;
  for (size_t i = 0; i < count; ++i) bytes += static_cast<char>(random.below(256));
  return bytes;
}

std::string read(const InputFile& file, uint64_t offset, size_t length,
                 const CancelFlag* cancelled = nullptr) {
  std::vector<uint8_t> bytes(length);
  file.read(offset, length, bytes.data(), cancelled);
  return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST(readsAnyPart) {
  const std::string bytes = randomBytes(10000);
  const TemporaryFile path(bytes);
  const InputFile file(path.path());
  CHECK_EQUAL(file.size(), 10000U);
  CHECK_EQUAL(file.path(), path.path());
  const std::pair<uint64_t, size_t> parts[] = {{0, 10000}, {0, 1},    {1, 1},   {4095, 2},
                                               {9999, 1},  {7, 9993}, {300, 77}};
  for (const auto& [offset, length] : parts) {
    CHECK(read(file, offset, length) == bytes.substr(offset, length));
  }
  for (const uint64_t offset : {0U, 5000U, 10000U, 20000U}) CHECK(read(file, offset, 0).empty());
}

// A step reads 16 MiB.
TEST(readsMoreThanOneStep) {
  constexpr size_t kStep = size_t{16} << 20;
  constexpr size_t kSize = 2 * kStep + 100;
  const TemporaryFile path("");
  std::filesystem::resize_file(path.path(), kSize);
  const size_t marked[] = {0, kStep - 1, kStep, 2 * kStep - 1, 2 * kStep, kSize - 1};
  {
    std::fstream file(path.path(), std::ios::binary | std::ios::in | std::ios::out);
    for (const size_t at : marked) file.seekp(static_cast<std::streamoff>(at)).put('x');
  }
  const InputFile file(path.path());
  for (const size_t start : {size_t{0}, size_t{1}}) {
    const std::string bytes = read(file, start, kSize - start);
    size_t marks = 0;
    for (const size_t at : marked) {
      if (at < start) continue;
      CHECK_EQUAL(bytes[at - start], 'x');
      ++marks;
    }
    CHECK_EQUAL(std::count(bytes.begin(), bytes.end(), 'x'), static_cast<std::ptrdiff_t>(marks));
  }
}

TEST(readingPastTheEndIsAnError) {
  const TemporaryFile path(randomBytes(1000));
  const InputFile file(path.path());
  const TemporaryFile nothing("");
  const InputFile empty(nothing.path());
  CHECK_EQUAL(empty.size(), 0U);
  CHECK_ERROR(code::kFileUnreadable, read(empty, 0, 1));
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  for (const uint64_t offset :
       {uint64_t{1000}, uint64_t{1001}, uint64_t{1} << 40U, kMost / 2, kMost / 2 + 1, kMost - 1}) {
    CHECK_ERROR(code::kFileUnreadable, read(file, offset, 1));
  }
  CHECK_ERROR(code::kFileUnreadable, read(file, 0, 1001));
  CHECK_ERROR(code::kFileUnreadable, read(file, 999, 2));
  CHECK_EQUAL(read(file, 999, 1).size(), 1U);
}

TEST(aCancelFlagStopsTheReading) {
  const TemporaryFile path("bytes");
  const InputFile file(path.path());
  CancelFlag cancelled{false};
  CHECK_EQUAL(read(file, 0, 5, &cancelled), "bytes");
  cancelled = true;
  std::vector<uint8_t> bytes(5, '-');
  CHECK_ERROR(code::kAborted, file.read(0, 5, bytes.data(), &cancelled));
  CHECK_EQUAL(std::string(bytes.begin(), bytes.end()), "-----");
}

// The part before the zero byte is the path of an existing file.
TEST(rejectsAPathWithAZeroByte) {
  const TemporaryFile path("bytes");
  for (const std::string& rest : {std::string(1, '\0'), std::string("\0.gguf", 6)}) {
    CHECK_ERROR(code::kFileNotFound, InputFile(path.path() + rest));
  }
  CHECK_ERROR(code::kFileNotFound, InputFile(std::string(1, '\0') + path.path()));
}

TEST(opensRegularFilesOnly) {
  const TemporaryFile path("bytes");
  const TemporaryFile missing;
  CHECK_ERROR(code::kFileNotFound, InputFile(missing.path()));
  CHECK_ERROR(code::kFileNotFound, InputFile(path.path() + "/within"));
  CHECK_ERROR(code::kFileNotFound, InputFile(""));
  CHECK_ERROR(code::kFileUnreadable, InputFile(std::filesystem::temp_directory_path().u8string()));
}

#ifndef _WIN32

TEST(changedBytesAreDetected) {
  for (const Change& change : gpt2::test::changesOfTheBytes()) {
    const TemporaryFile path("some bytes");
    gpt2::test::backdate(path.path());
    const InputFile file(path.path());
    CHECK_EQUAL(read(file, 0, 10), "some bytes");
    file.checkUnchanged();
    change(path.path());
    CHECK_ERROR(code::kFileUnreadable, file.checkUnchanged());
    CHECK_EQUAL(file.size(), 10U);
  }
}

TEST(renamingAndDeletingHaveNoEffect) {
  for (const Change& change : gpt2::test::changesOfTheName()) {
    const TemporaryFile path("some bytes");
    const InputFile file(path.path());
    change(path.path());
    file.checkUnchanged();
    CHECK_EQUAL(read(file, 0, 10), "some bytes");
  }
}

TEST(aTruncatedFileIsUnreadableBeyondItsEnd) {
  const TemporaryFile path("some bytes");
  const InputFile file(path.path());
  std::filesystem::resize_file(path.path(), 4);
  CHECK_EQUAL(read(file, 0, 4), "some");
  CHECK_ERROR(code::kFileUnreadable, read(file, 0, 5));
  CHECK_ERROR(code::kFileUnreadable, read(file, 5, 5));
}

#else

TEST(changedBytesAreDetected) { SKIP("Windows does not let others change an open file"); }
TEST(renamingAndDeletingHaveNoEffect) { SKIP("Windows does not let others change an open file"); }
TEST(aTruncatedFileIsUnreadableBeyondItsEnd) {
  SKIP("Windows does not let others change an open file");
}

#endif
