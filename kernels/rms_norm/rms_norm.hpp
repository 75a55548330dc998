// Root-mean-square normalization of rows (Zhang and Sennrich 2019):
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

struct rms_norm_rows {
  const float* x = nullptr;  ///< of each row, count values
  std::size_t x_stride = 0;  ///< elements between rows
  std::size_t row_count = 1;
  std::size_t count = 0;
  const float* weight = nullptr;  ///< count values
  float epsilon = 0.0f;
  float* y = nullptr;  ///< may be x, with the same stride; must not overlap anything else
  std::size_t y_stride = 0;
};

/// No alignment is needed. Also the norm of Q's and K's heads, with count = head_dim. (Several rows
/// at once cost less than one by one: a sum waits for its own last addition.)
void rms_norm(isa set, const rms_norm_rows& rows);

namespace detail {
void rms_norm_ref(const rms_norm_rows& rows);
void rms_norm_avx2(const rms_norm_rows& rows);
void rms_norm_avx512(const rms_norm_rows& rows);
}  // namespace detail

}  // namespace troupe::kernels
