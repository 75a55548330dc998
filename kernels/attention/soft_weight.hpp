// What a key weighs in a softmax, on a vector: e^(scale * (score - maximum)) as a power of two,
// which takes the scale in for nothing. Simd is one of kernels/base/simd_*.hpp.
//
//   d = score - maximum, which is at most zero, or NaN;  x = d * factor, factor = scale * log2(e)
//   n = round(x),  r = x - n (of the exact x, rounded once)
//   weight = 2^n * (1 + r * (c1 + c2 r + ... + c5 r^4)), or 0 where d < -125 / factor
//
// The c are the minimax fit for the relative error on |r| <= 1/2 (Lawson's iteration, rounded to
// float: 9.4e-8). With the roundings of p, d and factor, a weight is off by at most 4 + 2 |x| units
// of 2^-24 of itself. The largest score weighs exactly 1; there are no subnormal weights.
#pragma once

#include "kernels/attention/attention_item.hpp"

namespace troupe::kernels {

namespace soft_weight_constants {
inline constexpr float rounder = 0x1.8p+23f;  ///< adding and subtracting it rounds to an integer
inline constexpr float c5 = 0x1.5bd97ap-10f;
inline constexpr float c4 = 0x1.3ce8b2p-7f;
inline constexpr float c3 = 0x1.c6b6dap-5f;
inline constexpr float c2 = 0x1.ebf9c2p-3f;
inline constexpr float c1 = 0x1.62e42ap-1f;
}  // namespace soft_weight_constants

template <class Simd>
class soft_weigher {
 public:
  explicit soft_weigher(const detail::soft_scale& scale)
      : factor_(Simd::broadcast(scale.exponent_factor)),
        difference_min_(Simd::broadcast(scale.difference_min)) {}

  __attribute__((always_inline)) Simd operator()(Simd difference) const {
    namespace k = soft_weight_constants;
    const Simd n =
        Simd::fma(difference, factor_, Simd::broadcast(k::rounder)) - Simd::broadcast(k::rounder);
    const Simd r = Simd::fms(difference, factor_, n);
    Simd p = Simd::broadcast(k::c5);
    p = Simd::fma(p, r, Simd::broadcast(k::c4));
    p = Simd::fma(p, r, Simd::broadcast(k::c3));
    p = Simd::fma(p, r, Simd::broadcast(k::c2));
    p = Simd::fma(p, r, Simd::broadcast(k::c1));
    p = Simd::fma(p, r, Simd::broadcast(1.0f));
    return Simd::zero_below(difference, difference_min_, Simd::scale_by_power(p, n));
  }

 private:
  Simd factor_, difference_min_;
};

}  // namespace troupe::kernels
