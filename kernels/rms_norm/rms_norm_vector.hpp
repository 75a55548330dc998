// The norm on vectors; Simd is one of kernels/base/simd_*.hpp.
#pragma once

#include "kernels/base/simd_lanes.hpp"
#include "kernels/rms_norm/rms_norm.hpp"

namespace troupe::kernels {

template <class Simd>
void add_row_vector(float* x, const float* delta, std::size_t count) {
  std::size_t i = 0;
  for (; i + Simd::width <= count; i += Simd::width) {
    (Simd::load(x + i) + Simd::load(delta + i)).store(x + i);
  }
  if (const std::size_t left = count - i; left != 0) {
    (Simd::load_first(x + i, left) + Simd::load_first(delta + i, left)).store_first(x + i, left);
  }
}

/// Lanes past the end hold zero, which adds exactly nothing to a sum of squares.
template <class Simd>
float sum_of_squares(const float* x, std::size_t count) {
  auto sums = sixteen_lanes<Simd>::broadcast(0.0f);
  const auto add = [](Simd value, Simd& sum) { sum = Simd::fma(value, value, sum); };
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    for (std::size_t part = 0; part < sums.part_count; ++part) {
      add(Simd::load(x + i + part * Simd::width), sums.parts[part]);
    }
  }
  for (std::size_t part = 0; i < count; ++part) {
    const std::size_t left = count - i < Simd::width ? count - i : Simd::width;
    add(Simd::load_first(x + i, left), sums.parts[part]);
    i += left;
  }
  return sums.sum();
}

template <class Simd>
void rms_norm_vector(const rms_norm_row& row) {
  const float mean = sum_of_squares<Simd>(row.x, row.count) / static_cast<float>(row.count);
  const Simd scale = Simd::broadcast(1.0f / __builtin_sqrtf(mean + row.epsilon));
  std::size_t i = 0;
  for (; i + Simd::width <= row.count; i += Simd::width) {
    (Simd::load(row.x + i) * scale * Simd::load(row.weight + i)).store(row.y + i);
  }
  if (const std::size_t left = row.count - i; left != 0) {
    const Simd normed = Simd::load_first(row.x + i, left) * scale;
    (normed * Simd::load_first(row.weight + i, left)).store_first(row.y + i, left);
  }
}

}  // namespace troupe::kernels
