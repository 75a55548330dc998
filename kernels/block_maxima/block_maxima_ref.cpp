#include <limits>

#include "kernels/block_maxima/block_maxima.hpp"

namespace troupe::kernels::detail {

void block_maxima_ref(const float* values, std::size_t block_count, float* maxima) {
  for (std::size_t block = 0; block < block_count; ++block, values += maxima_block) {
    float largest = -std::numeric_limits<float>::infinity();
    // False for NaN, which therefore never wins.
    for (std::size_t i = 0; i < maxima_block; ++i)
      largest = values[i] > largest ? values[i] : largest;
    maxima[block] = largest;
  }
}

}  // namespace troupe::kernels::detail
