#include <cmath>

#include "kernels/rope/rope.hpp"

namespace troupe::kernels::detail {

void rope_ref(const rope_row& row) {
  for (std::size_t head = 0; head < row.head_count; ++head) {
    float* elements = row.heads + head * row.head_stride;
    for (std::size_t i = 0; i < row.pair_count; ++i) {
      float& first = elements[row.interleaved ? 2 * i : i];
      float& second = elements[row.interleaved ? 2 * i + 1 : i + row.pair_count];
      const float a = first;
      const float b = second;
      first = std::fma(a, row.cosines[i], -(b * row.sines[i]));
      second = std::fma(b, row.cosines[i], a * row.sines[i]);
    }
  }
}

}  // namespace troupe::kernels::detail
