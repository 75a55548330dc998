#include "kernels/base/simd_avx2.hpp"
#include "kernels/exp/exp_vector.hpp"

namespace troupe::kernels::detail {

void exp_row_avx2(const float* x, std::size_t count, float* y) {
  exp_row_vector<simd_avx2>(x, count, y);
}

}  // namespace troupe::kernels::detail
