// The exponential and its sum over a row. A file of its own because it is compiled with
// -fno-trapping-math: that vectorizes the selects here, and would undo the max scan of
// vocabulary_scan.cpp. No result depends on it.
#include <algorithm>
#include <array>
#include <bit>

#include "runtime/decode/vocabulary_scan.hpp"

namespace troupe {
namespace {

inline float exp_inline(float x) noexcept {
  x = x > -87.0f ? x : -87.0f;
  // Adding and taking away 1.5 * 2^23 rounds to the nearest integer.
  constexpr float rounder = 12582912.0f;
  const float n = (x * 1.44269504088896341f + rounder) - rounder;
  // ln 2 in two parts, so that n * ln2_high is exact.
  const float f = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * f + 1.3981999507e-3f;
  p = p * f + 8.3334519073e-3f;
  p = p * f + 4.1665795894e-2f;
  p = p * f + 1.6666665459e-1f;
  p = p * f + 5.0000001201e-1f;
  p = p * (f * f) + f + 1.0f;
  const auto power = std::bit_cast<float>((static_cast<std::int32_t>(n) + 127) << 23);
  return p * power;
}

}  // namespace

float exp_nonpositive(float x) noexcept {
  return exp_inline(x);
}

double sum_of_exp(std::span<const float> logits, float maximum, float scale, float floor) noexcept {
  constexpr std::size_t lanes = 8;
  std::array<double, lanes> sums{};
  std::array<float, scan_block_tokens> powers;
  for (std::size_t first = 0; first < logits.size(); first += scan_block_tokens) {
    const std::size_t count = std::min(scan_block_tokens, logits.size() - first);
    if (count < scan_block_tokens) powers.fill(0.0f);
    for (std::size_t j = 0; j < count; ++j) {
      const float value = logits[first + j];
      const float power = exp_inline((value - maximum) * scale);
      powers[j] = value >= floor ? power : 0.0f;
    }
    for (std::size_t j = 0; j < scan_block_tokens; j += lanes) {
      for (std::size_t k = 0; k < lanes; ++k) sums[k] += static_cast<double>(powers[j + k]);
    }
  }
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace troupe
