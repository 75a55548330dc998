// y = e^x in float, the exponential of SiLU: the same bits in every variant.
//
//   n = round(x * log2(e)),  r = x - n * ln 2,  e^x = 2^n * (1 + r + r^2 * (c2 + c3 r + ... + c6
//   r^4))
//
// The c are the minimax fit for the relative error on |r| <= ln(2) / 2 (Lawson's iteration, rounded
// to float: 2^-28). ln 2 is subtracted in two parts, of which the first has 9 trailing zero bits,
// so that n * ln2_high is exact. Measured error: below 1.1 units in the last place. x below
// exp_input_min gives 0 (no subnormal results, -inf included), above ln(FLT_MAX) +inf, NaN stays
// NaN (with an unspecified payload).
#pragma once

#include <cstddef>

#include "kernels/base/cpu_features.hpp"

namespace troupe::kernels {

namespace exp_constants {
inline constexpr float input_min = -87.3365f;  ///< just above ln(2^-126)
inline constexpr float input_max = 89.0f;      ///< e^89 is beyond FLT_MAX and 2^n is still a scale
inline constexpr float log2_e = 0x1.715476p+0f;
inline constexpr float ln2_high = 0x1.62e4p-1f;
inline constexpr float ln2_low = 0x1.7f7d1cp-20f;
inline constexpr float rounder = 0x1.8p+23f;  ///< adding and subtracting it rounds to an integer
inline constexpr float c6 = 0x1.6a23dp-10f;
inline constexpr float c5 = 0x1.123a2p-7f;
inline constexpr float c4 = 0x1.5558f2p-5f;
inline constexpr float c3 = 0x1.555492p-3f;
inline constexpr float c2 = 0x1.fffffcp-2f;
}  // namespace exp_constants

/// y[i] = e^x[i] for i < count. No alignment is needed; y may be x.
void exp_row(isa set, const float* x, std::size_t count, float* y);

/// One value, by the reference's instructions.
float exp_ref(float x);

namespace detail {
void exp_row_ref(const float* x, std::size_t count, float* y);
void exp_row_avx2(const float* x, std::size_t count, float* y);
void exp_row_avx512(const float* x, std::size_t count, float* y);
}  // namespace detail

}  // namespace troupe::kernels
