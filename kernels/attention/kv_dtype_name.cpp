#include "kernels/attention/kv_dtype_name.hpp"

#include <string>

#include "kernels/base/check.hpp"

namespace troupe::kernels {

std::string_view to_string(kv_dtype type) noexcept {
  switch (type) {
    case kv_dtype::f32: return "f32";
    case kv_dtype::f16: return "f16";
    case kv_dtype::bf16: return "bf16";
    case kv_dtype::int8: return "int8";
  }
  TROUPE_CHECK(false);
}

namespace {

bool multiplies_bf16_pairs(isa set) {
  return multiplies_in_bf16(set) || (set == isa::avx512 && detect_cpu_features().avx512_bf16);
}

}  // namespace

result<kv_dtype> parse_kv_dtype(std::string_view text, isa set) {
  if (text == "auto") return multiplies_bf16_pairs(set) ? kv_dtype::bf16 : kv_dtype::f16;
  for (const kv_dtype type : kv_dtypes) {
    if (text == to_string(type)) return type;
  }
  return error{errc::invalid_argument, "unknown type of KV cache '" + std::string(text) +
                                           "'; known: auto, f16, bf16, f32, int8"};
}

}  // namespace troupe::kernels
