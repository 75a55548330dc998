#include "kernels/base/simd_avx512.hpp"
#include "kernels/silu_mul/silu_mul_vector.hpp"

namespace troupe::kernels::detail {

void silu_mul_avx512(const float* gate, const float* up, std::size_t count, float* y) {
  silu_mul_vector<simd_avx512>(gate, up, count, y);
}

}  // namespace troupe::kernels::detail
