#include "kernels/base/simd_avx2.hpp"
#include "kernels/block_maxima/block_maxima_vector.hpp"

namespace troupe::kernels::detail {

void block_maxima_avx2(const float* values, std::size_t block_count, float* maxima) {
  block_maxima_vector<simd_avx2>(values, block_count, maxima);
}

}  // namespace troupe::kernels::detail
