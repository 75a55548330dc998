#include "kernels/base/simd_avx512.hpp"
#include "kernels/rms_norm/rms_norm_vector.hpp"

namespace troupe::kernels::detail {

void rms_norm_avx512(const rms_norm_rows& rows) {
  rms_norm_vector<simd_avx512>(rows);
}

}  // namespace troupe::kernels::detail
