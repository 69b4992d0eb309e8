#include "kernels/transpose.h"

#include <vector>

#include "check.h"

TEST(everyElementIsWrittenToItsTransposedPlaceOnly) {
  for (const int64_t rows : {1, 3, 15, 16, 17, 40}) {
    for (const int64_t columns : {1, 4, 16, 31, 64}) {
      const int64_t fromStride = columns + 3;
      const int64_t toStride = rows + 2;
      std::vector<float> from(static_cast<size_t>(rows * fromStride));
      for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i);
      std::vector<float> to(static_cast<size_t>(columns * toStride), -1);
      gpt2::transpose(from.data(), static_cast<size_t>(fromStride), rows, columns, to.data(),
                      static_cast<size_t>(toStride));
      for (int64_t j = 0; j < columns; ++j) {
        for (int64_t i = 0; i < toStride; ++i) {
          const float expected = i < rows ? static_cast<float>(i * fromStride + j) : -1;
          CHECK_EQUAL(to[static_cast<size_t>(j * toStride + i)], expected);
        }
      }
    }
  }
}
