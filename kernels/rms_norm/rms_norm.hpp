// Root-mean-square normalization of one row (Zhang and Sennrich 2019), and adding to one:
//
//   y[i] = (x[i] * s) * weight[i],   s = 1 / sqrt(sum(x^2) / count + epsilon)
//
// The sum of squares goes into 16 lanes (lane = i mod 16, i ascending, fused multiply-adds), which
// are folded by halves: 16 -> 8 -> 4 -> 2 -> 1. All in float; the square root and the divisions are
// exactly rounded, so every variant gives the same bits. Against a double-precision sum the
// relative error of y stays below (count / 16 + 8) * 2^-24.
#pragma once

#include <cstddef>

#include "kernels/base/cpu_features.hpp"

namespace troupe::kernels {

struct rms_norm_row {
  const float* x = nullptr;       ///< count values
  const float* weight = nullptr;  ///< count values
  float epsilon = 0.0f;
  std::size_t count = 0;
  float* y = nullptr;  ///< count values; may be x, must not overlap anything else
};

/// No alignment is needed. Also the per-head norm of Q and K, with count = head_dim.
void rms_norm(isa set, const rms_norm_row& row);

/// x[i] += delta[i].
void add_row(isa set, float* x, const float* delta, std::size_t count);

namespace detail {
void rms_norm_ref(const rms_norm_row& row);
void rms_norm_avx2(const rms_norm_row& row);
void rms_norm_avx512(const rms_norm_row& row);
void add_row_ref(float* x, const float* delta, std::size_t count);
void add_row_avx2(float* x, const float* delta, std::size_t count);
void add_row_avx512(float* x, const float* delta, std::size_t count);
}  // namespace detail

}  // namespace troupe::kernels
