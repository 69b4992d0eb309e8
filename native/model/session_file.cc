#include "model/session_file.h"

#include <ggml-backend.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/checksum.h"
#include "base/error.h"
#include "io/input_file.h"
#include "io/output_file.h"
#include "kernels/kernels.h"

namespace gpt2 {

namespace {

constexpr std::array<char, 8> kMagic{'G', 'P', 'T', '2', 'S', 'E', 'S', 'S'};
constexpr uint32_t kVersion = 1;

// In the byte order of all platforms that the library supports, little endian.
struct Header {
  std::array<char, 8> magic = kMagic;
  uint32_t version = kVersion;
  uint32_t cacheType = 0;  // ggml's number
  uint64_t model = 0;      // identityOf()
  uint64_t kernels = 0;    // a checksum of the level's name
  uint64_t tokens = 0;
  uint64_t evaluated = 0;  // tokens whose keys and values follow
};
static_assert(sizeof(Header) == 48);

// Of a model's sizes, and of its tensors with a part of their data: the weights of another training
// differ in all of them.
uint64_t identityOf(const Model& model) {
  constexpr size_t kSample = 1024;
  Checksum checksum;
  const Hyperparameters& h = model.weights().hyperparameters();
  for (const int64_t size : {h.vocabSize, h.embeddingLength, h.headCount, h.layerCount}) {
    checksum.add(&size, sizeof size);
  }
  for (const TensorInfo* tensor : model.weights().files().tensors()) {
    checksum.add(tensor->name.data(), tensor->name.size());
    checksum.add(&tensor->type, sizeof tensor->type);
    checksum.add(&tensor->byteSize, sizeof tensor->byteSize);
    const size_t length = std::min(kSample, tensor->byteSize);
    checksum.add(tensor->data, length);
    checksum.add(tensor->data + (tensor->byteSize - length) / 2, length);
    checksum.add(tensor->data + (tensor->byteSize - length), length);
  }
  return checksum.value();
}

uint64_t kernelsOnThisMachine() {
  const std::string level = kernels().level;
  Checksum checksum;
  checksum.add(level.data(), level.size());
  return checksum.value();
}

uint64_t blocksOf(uint64_t positions) {
  return (positions + KvBlock::kPositions - 1) / KvBlock::kPositions;
}

class Writer {
 public:
  explicit Writer(const std::string& path) : file_(path) {}
  void write(const void* bytes, size_t length) {
    checksum_.add(bytes, length);
    file_.write(static_cast<const uint8_t*>(bytes), length);
  }
  void commit() {
    const uint64_t value = checksum_.value();
    file_.write(reinterpret_cast<const uint8_t*>(&value), sizeof value);
    file_.commit();
  }

 private:
  OutputFile file_;
  Checksum checksum_;
};

class Reader {
 public:
  Reader(const std::string& path, const CancelFlag* cancelled)
      : file_(path), cancelled_(cancelled) {}
  uint64_t left() const { return file_.size() - at_; }
  void read(void* bytes, size_t length) {
    if (length > left()) reject("it ends too early");
    file_.read(at_, length, static_cast<uint8_t*>(bytes), cancelled_);
    at_ += length;
    checksum_.add(bytes, length);
  }
  void checkEnd() {
    const uint64_t expected = checksum_.value();
    uint64_t found = 0;
    if (left() != sizeof found) reject("its length does not fit its contents");
    file_.read(at_, sizeof found, reinterpret_cast<uint8_t*>(&found), cancelled_);
    if (found != expected) reject("its checksum does not fit its contents");
  }
  [[noreturn]] void reject(const std::string& reason) const {
    throw Error(code::kInvalidFile,
                file_.path() + ": expected a session saved by this library, but " + reason);
  }

 private:
  InputFile file_;
  const CancelFlag* cancelled_;
  uint64_t at_ = 0;
  Checksum checksum_;
};

Header readHeader(Reader& reader, const Model& model) {
  Header header;
  reader.read(&header, sizeof header);
  if (header.magic != kMagic) reader.reject("it begins differently");
  if (header.version != kVersion) {
    reader.reject("it has version " + std::to_string(header.version) + ", and this library reads " +
                  std::to_string(kVersion));
  }
  if (header.model != identityOf(model)) reader.reject("it was saved with another model");
  // Before memory is taken for so many.
  if (header.tokens > reader.left() / sizeof(uint32_t) || header.evaluated > header.tokens) {
    reader.reject("its counts of tokens do not fit its length");
  }
  if (header.tokens > static_cast<uint64_t>(model.contextLength())) {
    throw Error(code::kContextOverflow, "Expected a session of at most " +
                                            std::to_string(model.contextLength()) +
                                            " tokens, the context length, but the file has " +
                                            std::to_string(header.tokens));
  }
  return header;
}

std::vector<uint32_t> readTokens(Reader& reader, const Header& header, const Model& model) {
  std::vector<uint32_t> tokens(header.tokens);
  reader.read(tokens.data(), tokens.size() * sizeof(uint32_t));
  const auto vocabSize = static_cast<uint32_t>(model.weights().hyperparameters().vocabSize);
  for (const uint32_t token : tokens) {
    if (token >= vocabSize) reader.reject("it has a token that the model lacks");
  }
  return tokens;
}

bool isPrepared(Model& model, Session& session, uint64_t count) {
  try {
    model.cacheMemory().prepare(session, static_cast<int64_t>(count));
    return true;
  } catch (const std::exception&) {  // there is no memory
    session.dropCache();
    return false;
  }
}

}  // namespace

void saveSession(const Model& model, const Session& session, const std::string& path,
                 const CancelFlag* cancelled) {
  const KvCache& cache = session.cache();
  Header header;
  header.cacheType = static_cast<uint32_t>(model.cacheType());
  header.model = identityOf(model);
  header.kernels = kernelsOnThisMachine();
  header.tokens = static_cast<uint64_t>(session.length());
  header.evaluated = static_cast<uint64_t>(session.evaluated());
  Writer writer(path);
  writer.write(&header, sizeof header);
  writer.write(session.tokens().data(), session.tokens().size() * sizeof(uint32_t));
  std::vector<uint8_t> bytes;
  for (uint64_t i = 0; i < blocksOf(header.evaluated); ++i) {
    throwIfCancelled(cancelled);
    for (const ggml_tensor* tensor : {cache.blocks()[i]->keys, cache.blocks()[i]->values}) {
      bytes.resize(ggml_nbytes(tensor));
      ggml_backend_tensor_get(tensor, bytes.data(), 0, bytes.size());
      writer.write(bytes.data(), bytes.size());
    }
  }
  writer.commit();
}

void restoreSession(Model& model, Session& session, const std::string& path,
                    const CancelFlag* cancelled) {
  Reader reader(path, cancelled);
  const Header header = readHeader(reader, model);
  const std::vector<uint32_t> tokens = readTokens(reader, header, model);

  // Into a session of its own, which replaces the given one when the checksum was right.
  const std::unique_ptr<Session> restored = model.createSession();
  restored->append(tokens);
  restored->setInUse(true);
  std::vector<uint8_t> bytes;
  if (header.cacheType == static_cast<uint32_t>(model.cacheType()) &&
      header.kernels == kernelsOnThisMachine() && isPrepared(model, *restored, header.evaluated)) {
    for (const KvBlockPtr& block : restored->cache().blocks()) {
      for (ggml_tensor* tensor : {block->keys, block->values}) {
        bytes.resize(ggml_nbytes(tensor));
        reader.read(bytes.data(), bytes.size());
        ggml_backend_tensor_set(tensor, bytes.data(), 0, bytes.size());
      }
    }
    restored->cache().advance(static_cast<int64_t>(header.evaluated));
  } else {
    constexpr uint64_t kStep = uint64_t{1} << 20U;
    while (reader.left() > sizeof(uint64_t)) {
      bytes.resize(std::min(kStep, reader.left() - sizeof(uint64_t)));
      reader.read(bytes.data(), bytes.size());
    }
  }
  reader.checkEnd();
  session.copyFrom(*restored);
  if (session.hasLostTokens()) {
    throw Error(code::kOutOfMemory, "there is no memory for the session's tokens");
  }
}

}  // namespace gpt2
