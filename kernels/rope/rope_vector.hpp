// The rotation on vectors; Simd is one of kernels/base/simd_*.hpp.
#pragma once

#include "kernels/rope/rope.hpp"

namespace troupe::kernels {

/// Pairs i .. of every head: an angle is loaded once for all of them.
template <class Simd>
void rotate_halves(const rope_row& row) {
  const auto rotate = [](Simd& a, Simd& b, Simd cosine, Simd sine) {
    const Simd turned = Simd::fms(a, cosine, b * sine);
    b = Simd::fma(b, cosine, a * sine);
    a = turned;
  };
  std::size_t i = 0;
  for (; i + Simd::width <= row.pair_count; i += Simd::width) {
    const Simd cosine = Simd::load(row.cosines + i), sine = Simd::load(row.sines + i);
    for (std::size_t head = 0; head < row.head_count; ++head) {
      float* const first = row.heads + head * row.head_stride + i;
      float* const second = first + row.pair_count;
      Simd a = Simd::load(first), b = Simd::load(second);
      rotate(a, b, cosine, sine);
      a.store(first);
      b.store(second);
    }
  }
  if (const std::size_t left = row.pair_count - i; left != 0) {
    const Simd cosine = Simd::load_first(row.cosines + i, left);
    const Simd sine = Simd::load_first(row.sines + i, left);
    for (std::size_t head = 0; head < row.head_count; ++head) {
      float* const first = row.heads + head * row.head_stride + i;
      float* const second = first + row.pair_count;
      Simd a = Simd::load_first(first, left), b = Simd::load_first(second, left);
      rotate(a, b, cosine, sine);
      a.store_first(first, left);
      b.store_first(second, left);
    }
  }
}

template <class Simd>
void rotate_interleaved(const rope_row& row) {
  constexpr std::size_t pairs = Simd::width / 2;
  std::size_t i = 0;
  for (; i + pairs <= row.pair_count; i += pairs) {
    const Simd cosines = Simd::load_twice(row.cosines + i);
    const Simd sines = Simd::load_twice(row.sines + i);
    for (std::size_t head = 0; head < row.head_count; ++head) {
      float* const at = row.heads + head * row.head_stride + 2 * i;
      const Simd x = Simd::load(at);
      Simd::fma_sub_add(x, cosines, Simd::swap_pairs(x) * sines).store(at);
    }
  }
  for (; i < row.pair_count; ++i) {
    for (std::size_t head = 0; head < row.head_count; ++head) {
      float* const at = row.heads + head * row.head_stride + 2 * i;
      const float a = at[0], b = at[1];
      at[0] = __builtin_fmaf(a, row.cosines[i], -(b * row.sines[i]));
      at[1] = __builtin_fmaf(b, row.cosines[i], a * row.sines[i]);
    }
  }
}

template <class Simd>
void rope_vector(const rope_row& row) {
  if (row.interleaved) {
    rotate_interleaved<Simd>(row);
  } else {
    rotate_halves<Simd>(row);
  }
}

}  // namespace troupe::kernels
