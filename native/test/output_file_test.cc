#include "io/output_file.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "check.h"
#include "io/file_lock.h"
#include "temporary_folder.h"

#ifndef _WIN32
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#endif

using gpt2::FileLock;
using gpt2::OutputFile;
using gpt2::test::readFile;
using gpt2::test::TemporaryFolder;
namespace code = gpt2::code;

namespace {

using Names = std::vector<std::string>;

void write(OutputFile& file, const std::string& text) {
  file.write(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

void writeFile(const std::string& path, const std::string& text) {
  OutputFile file(path);
  write(file, text);
  file.commit();
}

}  // namespace

TEST(hasATemporaryNameUntilItIsCommitted) {
  const TemporaryFolder folder;
  OutputFile file(folder.path("model.gguf"));
  write(file, "some ");
  CHECK_EQUAL(folder.names().size(), 1U);
  const std::string name = folder.names()[0];
  CHECK(name != "model.gguf");
  CHECK(name.rfind("model.gguf.", 0) == 0);
  write(file, "bytes");
  file.commit();
  CHECK(folder.names() == Names{"model.gguf"});
  CHECK_EQUAL(readFile(folder.path("model.gguf")), "some bytes");
}

TEST(isRemovedWithoutCommit) {
  const TemporaryFolder folder;
  {
    OutputFile file(folder.path("model.gguf"));
    write(file, "some bytes");
    CHECK_EQUAL(folder.names().size(), 1U);
  }
  CHECK(folder.names().empty());
}

TEST(replacesAnExistingFileOnCommit) {
  const TemporaryFolder folder;
  const std::string path = folder.path("model.gguf");
  writeFile(path, "a longer text of before");
  {
    OutputFile file(path);
    write(file, "given up");
  }
  CHECK_EQUAL(readFile(path), "a longer text of before");
  OutputFile file(path);
  write(file, "new");
  CHECK_EQUAL(readFile(path), "a longer text of before");
  file.commit();
  CHECK_EQUAL(readFile(path), "new");
  CHECK(folder.names() == Names{"model.gguf"});
}

TEST(twoFilesOfOnePathDoNotMix) {
  const TemporaryFolder folder;
  const std::string path = folder.path("model.gguf");
  OutputFile first(path);
  OutputFile second(path);
  write(first, "the first");
  write(second, "the second");
  first.commit();
  CHECK_EQUAL(readFile(path), "the first");
  second.commit();
  CHECK_EQUAL(readFile(path), "the second");
  CHECK(folder.names() == Names{"model.gguf"});
}

TEST(theTemporaryFileIsLockedWhileItIsWritten) {
  const TemporaryFolder folder;
  const std::string path = folder.path("model.gguf");
  OutputFile file(path);
  const std::string temporary = folder.path(folder.names().at(0));
  CHECK(FileLock::tryAcquire(temporary) == nullptr);
  write(file, "bytes");
  CHECK(FileLock::tryAcquire(temporary) == nullptr);
  CHECK_EQUAL(std::filesystem::file_size(temporary), 5U);
  file.commit();
  CHECK(FileLock::tryAcquire(path) != nullptr);
  CHECK(folder.names() == Names{"model.gguf"});
}

TEST(createsTheFoldersOfItsPath) {
  const TemporaryFolder folder;
  writeFile(folder.path("a/b é/model.gguf"), "bytes");
  CHECK_EQUAL(readFile(folder.path("a/b é/model.gguf")), "bytes");
}

TEST(writesZeros) {
  const TemporaryFolder folder;
  for (const size_t count : {0U, 1U, 31U, 4095U, 4096U, 4097U, 10000U}) {
    const std::string path = folder.path(std::to_string(count));
    OutputFile file(path);
    write(file, "<");
    file.writeZeros(count);
    write(file, ">");
    file.commit();
    CHECK_EQUAL(readFile(path), "<" + std::string(count, '\0') + ">");
  }
}

// A step writes 16 MiB.
TEST(writesMoreThanOneStep) {
  const TemporaryFolder folder;
  std::string bytes((size_t{16} << 20) + 5, '\0');
  for (size_t i = 0; i < bytes.size(); i += 997) bytes[i] = static_cast<char>(i / 997);
  bytes.replace(bytes.size() - 5, 5, "steps");
  OutputFile file(folder.path("large"));
  write(file, bytes);
  write(file, "the end");
  file.commit();
  CHECK(readFile(folder.path("large")) == bytes + "the end");
}

TEST(doesNotReplaceAFolder) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.path("model.gguf"));
  CHECK_ERROR(code::kFileUnwritable, writeFile(folder.path("model.gguf"), "bytes"));
  CHECK(folder.names() == Names{"model.gguf"});
  CHECK(std::filesystem::is_directory(folder.path("model.gguf")));
}

TEST(aFolderThatCannotBeCreatedIsAnError) {
  const TemporaryFolder folder;
  writeFile(folder.path("file"), "bytes");
  for (const char* name : {"file/model.gguf", "file/a/model.gguf"}) {
    CHECK_ERROR(code::kFileUnwritable, OutputFile(folder.path(name)));
  }
  CHECK(folder.names() == Names{"file"});
}

TEST(theTemporaryNameOfALongNameIsShorter) {
  const TemporaryFolder folder;
  std::string long_;
  while (long_.size() < 252) long_ += "\xe6\xa8\xa1";  // a character of three bytes
  for (const std::string& name : {std::string(255, 'n'), "nn" + long_, "n" + long_, long_}) {
    OutputFile file(folder.path(name));
    write(file, "some bytes");
    const std::string temporary = folder.names()[0];
    CHECK(temporary.size() > 255 - 4 && temporary.size() <= 255);
    const size_t kept = temporary.find('.');
    CHECK(temporary.substr(0, kept) == name.substr(0, kept));
    CHECK((static_cast<uint8_t>(name[kept]) & 0xC0) != 0x80);
    file.commit();
    CHECK(folder.names() == Names{name});
    std::remove(folder.path(name).c_str());
  }
}

TEST(aNameThatIsTooLongIsAnError) {
  const TemporaryFolder folder;
  CHECK_ERROR(code::kFileUnwritable, OutputFile(folder.path(std::string(300, 'n'))));
  CHECK(folder.names().empty());
}

TEST(aPathWithAZeroByteIsAnError) {
  const TemporaryFolder folder;
  CHECK_ERROR(code::kFileUnwritable, OutputFile(folder.path("model") + '\0'));
  CHECK_ERROR(code::kFileUnwritable, OutputFile(folder.path("a") + '\0' + "/model"));
  CHECK(folder.names().empty());
}

#ifndef _WIN32

TEST(theTemporaryFileOfAKilledProcessIsUnlocked) {
  const TemporaryFolder folder;
  int ready[2];
  CHECK_EQUAL(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    OutputFile file(folder.path("model.gguf"));
    write(file, "some bytes");
    if (::write(ready[1], "y", 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  char byte = 0;
  CHECK_EQUAL(read(ready[0], &byte, 1), 1);
  CHECK_EQUAL(folder.names().size(), 1U);
  const std::string name = folder.names()[0];
  CHECK(name.rfind("model.gguf." + std::to_string(child) + ".", 0) == 0);
  CHECK(FileLock::tryAcquire(folder.path(name)) == nullptr);
  CHECK_EQUAL(kill(child, SIGKILL), 0);
  CHECK_EQUAL(waitpid(child, nullptr, 0), child);
  CHECK(FileLock::tryAcquire(folder.path(name)) != nullptr);
  CHECK(folder.names() == Names{name});
  close(ready[0]);
  close(ready[1]);
}

// A limit on the size of files simulates a full disk: bytes are written up to the limit.
TEST(aFullDiskIsAnError) {
  const TemporaryFolder folder;
  const std::string path = folder.path("model.gguf");
  writeFile(path, "before");
  rlimit before{};
  CHECK_EQUAL(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto signalBefore = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{10000, before.rlim_max};
  CHECK_EQUAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto refused = [&](const auto& writeMore) {
    std::string code = "no error";
    try {
      OutputFile file(path);
      write(file, std::string(9000, 'x'));
      writeMore(file);
      file.commit();
    } catch (const gpt2::Error& error) {
      code = error.code();
    }
    return code;
  };
  const std::string within = refused([](OutputFile& file) { write(file, std::string(1000, 'x')); });
  const std::string bytes = refused([](OutputFile& file) { write(file, std::string(2000, 'x')); });
  const std::string zeros = refused([](OutputFile& file) { file.writeZeros(2000); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, signalBefore);
  CHECK_EQUAL(within, "no error");
  CHECK_EQUAL(bytes, code::kFileUnwritable);
  CHECK_EQUAL(zeros, code::kFileUnwritable);
  CHECK(folder.names() == Names{"model.gguf"});
  CHECK_EQUAL(readFile(path), std::string(10000, 'x'));  // the bytes that fit
}

#else

TEST(aFullDiskIsAnError) { SKIP("needs RLIMIT_FSIZE"); }

#endif
