// The names of the KV cache's types, as users write them.
#pragma once

#include <string_view>

#include "kernels/attention/attention.hpp"
#include "kernels/base/result.hpp"

namespace troupe::kernels {

inline constexpr kv_dtype kv_dtypes[] = {kv_dtype::f16, kv_dtype::bf16, kv_dtype::f32,
                                         kv_dtype::int8};

[[nodiscard]] std::string_view to_string(kv_dtype type) noexcept;

/// "auto" is the 16-bit type that attention is fastest with on this machine: bf16 where it
/// multiplies pairs of them (VDPBF16PS, or tiles), else f16. Error: invalid_argument for an unknown
/// name.
result<kv_dtype> parse_kv_dtype(std::string_view text, isa set);

}  // namespace troupe::kernels
