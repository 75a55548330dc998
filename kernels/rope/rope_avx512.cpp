#include "kernels/base/simd_avx512.hpp"
#include "kernels/rope/rope_vector.hpp"

namespace troupe::kernels::detail {

void rope_avx512(const rope_row& row) {
  rope_vector<simd_avx512>(row);
}

}  // namespace troupe::kernels::detail
