#include "gguf/token_bytes.h"

#include <algorithm>
#include <array>
#include <optional>

#include "gguf/vocabulary.h"

namespace gpt2 {

namespace {

constexpr uint32_t kFirstShifted = 0x100;
constexpr size_t kShifted = 68;  // bytes that are not printable

bool isPrintable(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

// Printable Latin-1 characters spell themselves. All other bytes, in rising order, are spelt by the
// characters from U+0100 on
// (https://github.com/openai/gpt-2/blob/master/src/encoder.py, bytes_to_unicode).
std::array<uint8_t, kShifted> shiftedBytes() {
  std::array<uint8_t, kShifted> bytes{};
  size_t count = 0;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    if (!isPrintable(byte)) bytes[count++] = static_cast<uint8_t>(byte);
  }
  return bytes;
}

std::optional<uint8_t> byteOf(uint32_t character) {
  static const std::array<uint8_t, kShifted> kShiftedBytes = shiftedBytes();
  if (character < kFirstShifted) {
    return isPrintable(character) ? std::optional(static_cast<uint8_t>(character)) : std::nullopt;
  }
  const size_t index = character - kFirstShifted;
  return index < kShifted ? std::optional(kShiftedBytes[index]) : std::nullopt;
}

// The character of one or two bytes in UTF-8 at the start of a text, which is cut off; nothing for
// any other.
std::optional<uint32_t> takeShortCharacter(std::string_view& text) {
  const auto first = static_cast<uint8_t>(text[0]);
  if (first < 0x80U) {
    text.remove_prefix(1);
    return first;
  }
  if ((first & 0xe0U) != 0xc0U || text.size() < 2) return std::nullopt;
  const auto second = static_cast<uint8_t>(text[1]);
  if ((second & 0xc0U) != 0x80U) return std::nullopt;
  text.remove_prefix(2);
  return (first & 0x1fU) << 6U | (second & 0x3fU);
}

}  // namespace

bool appendSpelledBytes(std::string_view text, std::string& bytes) {
  const size_t before = bytes.size();
  while (!text.empty()) {
    const std::optional<uint32_t> character = takeShortCharacter(text);
    const std::optional<uint8_t> byte = character ? byteOf(*character) : std::nullopt;
    if (!byte) {
      bytes.resize(before);
      return false;
    }
    bytes.push_back(static_cast<char>(*byte));
  }
  return true;
}

TokenBytes::TokenBytes(const std::vector<std::string>& tokens) {
  for (const std::string& token : tokens) {
    bytes_ += token;
    ends_.push_back(bytes_.size());
  }
}

TokenBytes::Place TokenBytes::at(size_t position) const noexcept {
  const auto end = std::upper_bound(ends_.begin(), ends_.end(), position);
  const auto token = static_cast<size_t>(end - ends_.begin());
  return {static_cast<uint32_t>(token), token == 0 ? 0 : ends_[token - 1]};
}

// As in llama.cpp, the text of a normal token spells bytes, and the text of all other tokens is
// plain. Some programs do not distinguish the two: if the text of a normal token is not a spelling
// of bytes, it is plain as well.
std::shared_ptr<const TokenBytes> TokenBytes::read(const GgufFile& file, uint64_t vocabSize) {
  const MetadataValue* tokens = findTokens(file);
  if (tokens == nullptr) return nullptr;
  const TokenKinds kinds(file, tokens->count);
  const std::shared_ptr<TokenBytes> read(new TokenBytes());
  read->ends_.reserve(vocabSize);
  uint64_t next = 0;
  tokens->forEachString([&](std::string_view token) {
    const uint64_t id = next++;
    if (id >= vocabSize) return;
    const int32_t kind = kinds.of(id);
    if (!isPadding(token, id, kind) &&
        (kind != kNormal || !appendSpelledBytes(token, read->bytes_))) {
      read->bytes_ += token;
    }
    read->ends_.push_back(read->bytes_.size());
  });
  read->ends_.resize(vocabSize, read->bytes_.size());
  return read;
}

}  // namespace gpt2
