#include "kernels/base/simd_avx2.hpp"
#include "kernels/rms_norm/rms_norm_vector.hpp"

namespace troupe::kernels::detail {

void rms_norm_avx2(const rms_norm_rows& rows) {
  rms_norm_vector<simd_avx2>(rows);
}

}  // namespace troupe::kernels::detail
