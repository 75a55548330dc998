#include "kernels/base/simd_avx512.hpp"
// The vector type comes first: the templates below find its functions in it.
#include "kernels/attention/attention_vector.hpp"

namespace troupe::kernels::detail {

void attention_item_avx512bf16(const attention_item& item) {
  attention_runner<simd_avx512, kv_dtype::bf16>(item).run();
}

}  // namespace troupe::kernels::detail
