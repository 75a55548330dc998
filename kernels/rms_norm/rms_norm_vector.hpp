// The norm on vectors; Simd is one of kernels/base/simd_*.hpp.
#pragma once

#include "kernels/base/simd_lanes.hpp"
#include "kernels/rms_norm/rms_norm.hpp"

namespace troupe::kernels {

/// Sums of squares of Rows rows. Lanes past the end hold zero, which adds exactly nothing.
template <class Simd, std::size_t Rows>
void sum_squares(const float* x, std::size_t stride, std::size_t count, float (&to)[Rows]) {
  using lanes = sixteen_lanes<Simd>;
  lanes sums[Rows];
  for (lanes& sum : sums) sum = lanes::broadcast(0.0f);
  const auto add = [](Simd value, Simd& sum) { sum = Simd::fma(value, value, sum); };
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
#pragma GCC unroll 8
    for (std::size_t at = 0; at < Rows * lanes::part_count; ++at) {
      const std::size_t row = at % Rows, part = at / Rows;
      add(Simd::load(x + row * stride + i + part * Simd::width), sums[row].parts[part]);
    }
  }
  for (std::size_t part = 0; i < count; ++part) {
    const std::size_t left = count - i < Simd::width ? count - i : Simd::width;
    for (std::size_t row = 0; row < Rows; ++row)
      add(Simd::load_first(x + row * stride + i, left), sums[row].parts[part]);
    i += left;
  }
  for (std::size_t row = 0; row < Rows; ++row) to[row] = sums[row].sum();
}

template <class Simd>
void scale_row(const float* x, float scale, const rms_norm_rows& rows, float* y) {
  const Simd factor = Simd::broadcast(scale);
  std::size_t i = 0;
  for (; i + Simd::width <= rows.count; i += Simd::width) {
    (Simd::load(x + i) * factor * Simd::load(rows.weight + i)).store(y + i);
  }
  if (const std::size_t left = rows.count - i; left != 0) {
    const Simd normed = Simd::load_first(x + i, left) * factor;
    (normed * Simd::load_first(rows.weight + i, left)).store_first(y + i, left);
  }
}

/// Rows rows from `first` on.
template <class Simd, std::size_t Rows>
void norm_together(const rms_norm_rows& rows, std::size_t first) {
  const float* const x = rows.x + first * rows.x_stride;
  float sums[Rows];
  sum_squares<Simd>(x, rows.x_stride, rows.count, sums);
  for (std::size_t row = 0; row < Rows; ++row) {
    const float mean = sums[row] / static_cast<float>(rows.count);
    scale_row<Simd>(x + row * rows.x_stride, 1.0f / __builtin_sqrtf(mean + rows.epsilon), rows,
                    rows.y + (first + row) * rows.y_stride);
  }
}

template <class Simd>
void rms_norm_vector(const rms_norm_rows& rows) {
  constexpr std::size_t together = 4;  // as many as an addition takes cycles
  std::size_t row = 0;
  for (; row + together <= rows.row_count; row += together) {
    norm_together<Simd, together>(rows, row);
  }
  for (; row < rows.row_count; ++row) norm_together<Simd, 1>(rows, row);
}

}  // namespace troupe::kernels
