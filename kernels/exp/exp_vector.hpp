// The polynomial of exp.hpp on a vector, for inlining into kernels. Simd is one of
// kernels/base/simd_*.hpp.
#pragma once

#include "kernels/exp/exp.hpp"

namespace troupe::kernels {

template <class Simd>
inline __attribute__((always_inline)) Simd exp_vector(Simd x) {
  namespace k = exp_constants;
  const auto constant = [](float value) { return Simd::broadcast(value); };
  const Simd bounded = Simd::min(constant(k::input_max), x);  // NaN passes
  const Simd shifted = Simd::fma(bounded, constant(k::log2_e), constant(k::rounder));
  const Simd n = shifted - constant(k::rounder);
  Simd r = Simd::fma(n, constant(-k::ln2_high), bounded);
  r = Simd::fma(n, constant(-k::ln2_low), r);
  Simd p = constant(k::c6);
  p = Simd::fma(p, r, constant(k::c5));
  p = Simd::fma(p, r, constant(k::c4));
  p = Simd::fma(p, r, constant(k::c3));
  p = Simd::fma(p, r, constant(k::c2));
  p = Simd::fma(p, r, constant(1.0f));
  p = Simd::fma(p, r, constant(1.0f));
  return Simd::zero_below(x, constant(k::input_min), Simd::scale_by_power(p, n));
}

template <class Simd>
void exp_row_vector(const float* x, std::size_t count, float* y) {
  std::size_t i = 0;
  for (; i + Simd::width <= count; i += Simd::width) exp_vector(Simd::load(x + i)).store(y + i);
  if (i < count) {
    exp_vector(Simd::load_first(x + i, count - i)).store_first(y + i, count - i);
  }
}

}  // namespace troupe::kernels
