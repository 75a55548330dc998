#include "kernels/base/simd_avx2.hpp"
#include "kernels/rope/rope_vector.hpp"

namespace troupe::kernels::detail {

void rope_avx2(const rope_row& row) {
  rope_vector<simd_avx2>(row);
}

}  // namespace troupe::kernels::detail
