// quantize_row for AVX-512 with VNNI.
#include <cfloat>

#include "kernels/base/avx512_intrinsics.hpp"
#include "kernels/matmul/packed_layout.hpp"

namespace troupe::kernels {

namespace {

#define TROUPE_INLINE inline __attribute__((always_inline))

// Groups of a row that are quantized together: their horizontal sums and maxima share shuffles.
constexpr std::size_t quantized_together = 4;

struct group_values {
  __m512 first, second;
};

TROUPE_INLINE group_values load_group(const float* x, std::size_t left) {
  if (left >= 32) return {_mm512_loadu_ps(x), _mm512_loadu_ps(x + 16)};
  const std::uint32_t bits = (1u << left) - 1;
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>(bits), x),
          left > 16 ? _mm512_maskz_loadu_ps(static_cast<__mmask16>(bits >> 16), x + 16)
                    : _mm512_setzero_ps()};
}

// As integers, so that a NaN is the largest magnitude of all.
TROUPE_INLINE __m512i magnitudes(const group_values& x) {
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  return _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(x.first), magnitude),
                          _mm512_and_si512(_mm512_castps_si512(x.second), magnitude));
}

// Lane i of the result is the largest of m[i].
TROUPE_INLINE __m128i largest_of_each(const __m512i (&m)[quantized_together]) {
  const __m512i ab =
      _mm512_max_epi32(_mm512_unpacklo_epi32(m[0], m[1]), _mm512_unpackhi_epi32(m[0], m[1]));
  const __m512i cd =
      _mm512_max_epi32(_mm512_unpacklo_epi32(m[2], m[3]), _mm512_unpackhi_epi32(m[2], m[3]));
  const __m512i all =
      _mm512_max_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i half =
      _mm256_max_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return _mm_max_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

TROUPE_INLINE __m256i round_group(const group_values& x, float factor) {
  const __m512 by = _mm512_set1_ps(factor);
  // A factor of zero stands for all zeros, also where x is infinite or no number.
  const __mmask16 usable = factor > 0.0f ? __mmask16{0xFFFF} : __mmask16{0};
  const __m512i first = _mm512_maskz_cvtps_epi32(usable, _mm512_mul_ps(x.first, by));
  const __m512i second = _mm512_maskz_cvtps_epi32(usable, _mm512_mul_ps(x.second, by));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm512_cvtepi32_epi8(first)),
                                 _mm512_cvtepi32_epi8(second), 1);
}

struct half_sums {
  __m128i first, second;  // a group a lane
};

TROUPE_INLINE half_sums sum_halves(const __m256i (&q)[quantized_together]) {
  const __m512i ones = _mm512_set1_epi8(1);
  const auto quads = [&](__m256i low, __m256i high) {
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones,
                               _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
  };
  // Each 128-bit lane is a half of a group: (0, 1) and (2, 3).
  const __m512i a = quads(q[0], q[1]), b = quads(q[2], q[3]);
  const __m512i pairs = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i sums = _mm512_add_epi32(pairs, _mm512_shuffle_epi32(pairs, _MM_PERM_BADC));
  // Lanes 0, 1: first half of groups 0 and 2; 4, 5: their second; 8, 9 and 12, 13: groups 1 and 3.
  const __m512i order = _mm512_setr_epi32(0, 8, 1, 9, 4, 12, 5, 13, 0, 0, 0, 0, 0, 0, 0, 0);
  const __m256i sorted = _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, sums));
  return {_mm256_castsi256_si128(sorted), _mm256_extracti128_si256(sorted, 1)};
}

// For each f: -128 * sum + (f * sum + 4 >> 3).
TROUPE_INLINE __m256i offset_sums(std::int32_t minus_sum) {
  const __m256i minus_f = _mm256_setr_epi32(0, -1, -2, -3, -4, -5, -6, -7);
  const __m256i all = _mm256_set1_epi32(minus_sum);
  const __m256i product = _mm256_mullo_epi32(all, minus_f);
  const __m256i rounded = _mm256_srai_epi32(
      _mm256_add_epi32(product, _mm256_set1_epi32(1 << (fraction_shift - 1))), fraction_shift);
  return _mm256_add_epi32(_mm256_slli_epi32(all, zero_point_offset_shift), rounded);
}

}  // namespace

void quantize_avx512(const float* x, std::size_t column_count, const row_target& target) {
  const std::size_t group_count = (column_count + 31) / 32;
  const std::size_t part = target.row_in_tile / part_rows, r = target.row_in_tile % part_rows;
  for (std::size_t base = 0; base < group_count; base += quantized_together) {
    const std::size_t left = group_count - base;
    const std::size_t count = left < quantized_together ? left : quantized_together;
    group_values values[quantized_together];
    __m512i magnitude[quantized_together];
    for (std::size_t i = 0; i < quantized_together; ++i) {
      const std::size_t at = (base + i) * 32;
      values[i] = i < count ? load_group(x + at, column_count - at)
                            : group_values{_mm512_setzero_ps(), _mm512_setzero_ps()};
      magnitude[i] = magnitudes(values[i]);
    }
    const __m128 max = _mm_castsi128_ps(largest_of_each(magnitude));
    const __m128 limit = _mm_set1_ps(127.0f);
    const __m128 inverse = _mm_div_ps(limit, max);
    const __mmask8 usable = _mm_cmp_ps_mask(inverse, _mm_setzero_ps(), _CMP_GT_OQ) &
                            _mm_cmp_ps_mask(inverse, _mm_set1_ps(FLT_MAX), _CMP_LE_OQ);
    const __m128 scale = _mm_div_ps(max, limit);
    alignas(16) float factors[quantized_together], scales[quantized_together],
        scaled_sums[quantized_together];
    alignas(16) std::int32_t minus_sums[quantized_together], minus_first_sums[quantized_together];
    _mm_store_ps(factors, _mm_maskz_mov_ps(usable, inverse));
    __m256i q[quantized_together];
    for (std::size_t i = 0; i < quantized_together; ++i) q[i] = round_group(values[i], factors[i]);
    const half_sums sums = sum_halves(q);
    const __m128i total = _mm_add_epi32(sums.first, sums.second);
    const __m128i zero = _mm_setzero_si128();
    _mm_store_ps(scales, scale);
    _mm_store_ps(scaled_sums, _mm_mul_ps(scale, _mm_cvtepi32_ps(total)));
    _mm_store_si128(reinterpret_cast<__m128i*>(minus_sums), _mm_sub_epi32(zero, total));
    _mm_store_si128(reinterpret_cast<__m128i*>(minus_first_sums), _mm_sub_epi32(zero, sums.first));
    for (std::size_t i = 0; i < count; ++i) {
      activation_part& rows = target.groups[base + i].part[part];
      _mm256_store_si256(
          reinterpret_cast<__m256i*>(target.groups[base + i].values[target.row_in_tile]), q[i]);
      rows.scale[r] = scales[i];
      rows.scaled_sum[r] = scaled_sums[i];
      rows.minus_sum[r] = minus_sums[i];
      rows.minus_first_sum[r] = minus_first_sums[i];
      _mm256_store_si256(
          reinterpret_cast<__m256i*>(target.groups[base + i].offset_sums[target.row_in_tile]),
          offset_sums(minus_sums[i]));
    }
  }
}

}  // namespace troupe::kernels
