#include "kernels/base/simd_avx512.hpp"
// The vector type comes first: the templates below find its functions in it.
#include "kernels/attention/attention_vector.hpp"
#include "kernels/attention/attention_write.hpp"

namespace troupe::kernels::detail {

void attention_item_avx512(const attention_item& item) {
  attention_item_vector<simd_avx512>(item);
}

void attention_merge_avx512(const attention_item& item) {
  attention_merge_vector<simd_avx512>(item);
}

void write_kv_head_avx512(const kv_row_target& target, const float* k, const float* v) {
  write_kv_head_vector<simd_avx512>(target, k, v);
}

}  // namespace troupe::kernels::detail
