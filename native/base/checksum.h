#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace gpt2 {

// A checksum of 64 bits over bytes, eight at a time: FNV-1a's steps with a shift, which lets high
// bits change low ones. It finds damage, not forgery.
class Checksum {
 public:
  void add(const void* bytes, size_t length) noexcept {
    const auto* at = static_cast<const uint8_t*>(bytes);
    length_ += length;
    for (; length > 0 && filled_ > 0; --length) push(*at++);
    for (; length >= sizeof(uint64_t); length -= sizeof(uint64_t), at += sizeof(uint64_t)) {
      std::memcpy(&word_, at, sizeof word_);
      step(word_);
    }
    for (; length > 0; --length) push(*at++);
  }

  uint64_t value() const noexcept {
    Checksum ended = *this;
    while (ended.filled_ > 0) ended.push(0);
    ended.step(length_);
    return ended.hash_;
  }

 private:
  // Bytes that do not fill a word wait for the next ones.
  void push(uint8_t byte) noexcept {
    if (filled_ == 0) word_ = 0;
    word_ |= static_cast<uint64_t>(byte) << (8 * filled_);
    filled_ = (filled_ + 1) % sizeof(uint64_t);
    if (filled_ == 0) step(word_);
  }

  void step(uint64_t word) noexcept {
    constexpr uint64_t kPrime = 0x100000001b3;
    hash_ = (hash_ ^ word) * kPrime;
    hash_ ^= hash_ >> 29U;
  }

  uint64_t hash_ = 0xcbf29ce484222325;
  uint64_t word_ = 0;
  size_t filled_ = 0;  // bytes of word_
  uint64_t length_ = 0;
};

}  // namespace gpt2
