// The rotation on vectors; Simd is one of kernels/base/simd_*.hpp.
#pragma once

#include "kernels/rope/rope.hpp"

namespace troupe::kernels {

template <class Simd>
void rotate_halves(const rope_row& row, float* first) {
  float* second = first + row.pair_count;
  const auto rotate = [](Simd& a, Simd& b, Simd cosine, Simd sine) {
    const Simd turned = Simd::fms(a, cosine, b * sine);
    b = Simd::fma(b, cosine, a * sine);
    a = turned;
  };
  std::size_t i = 0;
  for (; i + Simd::width <= row.pair_count; i += Simd::width) {
    Simd a = Simd::load(first + i);
    Simd b = Simd::load(second + i);
    rotate(a, b, Simd::load(row.cosines + i), Simd::load(row.sines + i));
    a.store(first + i);
    b.store(second + i);
  }
  if (const std::size_t left = row.pair_count - i; left != 0) {
    Simd a = Simd::load_first(first + i, left);
    Simd b = Simd::load_first(second + i, left);
    rotate(a, b, Simd::load_first(row.cosines + i, left), Simd::load_first(row.sines + i, left));
    a.store_first(first + i, left);
    b.store_first(second + i, left);
  }
}

template <class Simd>
void rotate_interleaved(const rope_row& row, float* head) {
  constexpr std::size_t pairs = Simd::width / 2;
  std::size_t i = 0;
  for (; i + pairs <= row.pair_count; i += pairs) {
    const Simd x = Simd::load(head + 2 * i);
    const Simd crossed = Simd::swap_pairs(x) * Simd::load_twice(row.sines + i);
    Simd::fma_sub_add(x, Simd::load_twice(row.cosines + i), crossed).store(head + 2 * i);
  }
  for (; i < row.pair_count; ++i) {
    const float a = head[2 * i];
    const float b = head[2 * i + 1];
    head[2 * i] = __builtin_fmaf(a, row.cosines[i], -(b * row.sines[i]));
    head[2 * i + 1] = __builtin_fmaf(b, row.cosines[i], a * row.sines[i]);
  }
}

template <class Simd>
void rope_vector(const rope_row& row) {
  for (std::size_t head = 0; head < row.head_count; ++head) {
    float* elements = row.heads + head * row.head_stride;
    if (row.interleaved) {
      rotate_interleaved<Simd>(row, elements);
    } else {
      rotate_halves<Simd>(row, elements);
    }
  }
}

}  // namespace troupe::kernels
