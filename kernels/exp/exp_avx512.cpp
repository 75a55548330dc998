#include "kernels/base/simd_avx512.hpp"
#include "kernels/exp/exp_vector.hpp"

namespace troupe::kernels::detail {

void exp_row_avx512(const float* x, std::size_t count, float* y) {
  exp_row_vector<simd_avx512>(x, count, y);
}

}  // namespace troupe::kernels::detail
