// The gate of a SwiGLU feed-forward layer (Shazeer 2020), one row:
//
//   y[i] = (gate[i] / (1 + e^-gate[i])) * up[i]
//
// e^x is kernels/exp's; everything else is exactly rounded, so every variant gives the same bits.
// Against a double-precision evaluation the relative error is below 5 * 2^-24 where the result is
// normal, and below gate of -87.3 the result grows to -|gate| * 2^-126, which is nothing in either.
#pragma once

#include <cstddef>

#include "kernels/base/cpu_features.hpp"

namespace troupe::kernels {

/// No alignment is needed; y may be gate or up.
void silu_mul(isa set, const float* gate, const float* up, std::size_t count, float* y);

namespace detail {
void silu_mul_ref(const float* gate, const float* up, std::size_t count, float* y);
void silu_mul_avx2(const float* gate, const float* up, std::size_t count, float* y);
void silu_mul_avx512(const float* gate, const float* up, std::size_t count, float* y);
}  // namespace detail

}  // namespace troupe::kernels
