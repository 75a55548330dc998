#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/exp/exp.hpp"

namespace troupe::kernels {

namespace {

float power_of_two(std::int32_t power) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(power + 127) << 23);
}

}  // namespace

float exp_ref(float x) {
  namespace k = exp_constants;
  if (x < k::input_min) return 0.0f;
  if (std::isnan(x)) return x;
  const float bounded = k::input_max < x ? k::input_max : x;
  const float n = std::fma(bounded, k::log2_e, k::rounder) - k::rounder;
  float r = std::fma(n, -k::ln2_high, bounded);
  r = std::fma(n, -k::ln2_low, r);
  float p = k::c6;
  p = std::fma(p, r, k::c5);
  p = std::fma(p, r, k::c4);
  p = std::fma(p, r, k::c3);
  p = std::fma(p, r, k::c2);
  p = std::fma(p, r, 1.0f);
  p = std::fma(p, r, 1.0f);
  // In two factors, because 2^128 is no float; the first product is exact.
  const auto power = static_cast<std::int32_t>(n);
  const std::int32_t half = power >> 1;
  return p * power_of_two(half) * power_of_two(power - half);
}

namespace detail {

void exp_row_ref(const float* x, std::size_t count, float* y) {
  for (std::size_t i = 0; i < count; ++i) y[i] = exp_ref(x[i]);
}

}  // namespace detail
}  // namespace troupe::kernels
