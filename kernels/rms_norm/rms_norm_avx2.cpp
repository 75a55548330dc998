#include "kernels/base/simd_avx2.hpp"
#include "kernels/rms_norm/rms_norm_vector.hpp"

namespace troupe::kernels::detail {

void rms_norm_avx2(const rms_norm_rows& rows) {
  rms_norm_vector<simd_avx2>(rows);
}

void add_row_avx2(float* x, const float* delta, std::size_t count) {
  add_row_vector<simd_avx2>(x, delta, count);
}

}  // namespace troupe::kernels::detail
