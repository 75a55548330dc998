#include <limits>

#include "kernels/block_maxima/block_maxima.hpp"

namespace troupe::kernels::detail {

float largest_value(const float* values, std::size_t count) {
  float largest = -std::numeric_limits<float>::infinity();
  // False for NaN, which therefore never wins.
  for (std::size_t i = 0; i < count; ++i) largest = values[i] > largest ? values[i] : largest;
  return largest;
}

void block_maxima_ref(const float* values, std::size_t block_count, float* maxima) {
  for (std::size_t block = 0; block < block_count; ++block) {
    maxima[block] = largest_value(values + block * maxima_block, maxima_block);
  }
}

}  // namespace troupe::kernels::detail
