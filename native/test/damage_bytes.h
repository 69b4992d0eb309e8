#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <string>

#include "gguf_builder.h"
#include "random_numbers.h"

namespace gpt2::test {

// Returns a copy with one to three changes: changed bytes and bits, numbers at the limits of their
// types, removed and doubled bytes.
inline std::string damagedBytes(std::string bytes, RandomNumbers& random) {
  constexpr uint64_t kEdges[] = {0,
                                 1,
                                 0x7f,
                                 0x80,
                                 0xff,
                                 0x7fffffff,
                                 0x80000000,
                                 0xffffffff,
                                 std::numeric_limits<uint64_t>::max(),
                                 uint64_t{1} << 63U};
  for (uint64_t change = 1 + random.below(3); change > 0 && !bytes.empty(); --change) {
    const size_t at = random.below(bytes.size());
    switch (random.below(4)) {
      case 0:
        bytes[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
        break;
      case 2: {
        const std::string edge = raw(kEdges[random.below(std::size(kEdges))]);
        const size_t size = std::min<size_t>(random.below(2) == 0 ? 4 : 8, bytes.size() - at);
        bytes.replace(at, size, edge, 0, size);
        break;
      }
      default:
        if (random.below(2) == 0) {
          bytes.erase(at, 1 + random.below(16));
        } else {
          bytes.insert(at, bytes.substr(at, 1 + random.below(16)));
        }
    }
  }
  return bytes;
}

}  // namespace gpt2::test
