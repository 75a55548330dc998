// quantize for AVX2 with FMA.
#include <immintrin.h>

#include <cfloat>

#include "kernels/matmul/packed_layout.hpp"

namespace troupe::kernels {

namespace {

float largest_magnitude(const __m256 (&x)[4]) {
  // As integers, so that a NaN is the largest magnitude of all.
  const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
  __m256i larger = _mm256_setzero_si256();
  for (const __m256 part : x) {
    larger = _mm256_max_epi32(larger, _mm256_and_si256(_mm256_castps_si256(part), magnitude));
  }
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(larger), _mm256_extracti128_si256(larger, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xB1));
  return _mm_cvtss_f32(_mm_castsi128_ps(four));
}

void quantize_row(const float* x, std::size_t column_count, const row_target& target) {
  const std::size_t group_count = (column_count + 31) / 32;
  const std::size_t r = target.row_in_tile % part_rows;
  for (std::size_t g = 0; g < group_count; ++g) {
    const std::size_t left = column_count - g * 32;
    float tail[32] = {};
    const float* source = x + g * 32;
    if (left < 32) {
      __builtin_memcpy(tail, source, left * sizeof(float));
      source = tail;
    }
    __m256 part[4];
    for (int i = 0; i < 4; ++i) part[i] = _mm256_loadu_ps(source + 8 * i);
    const float max = largest_magnitude(part);
    const float scale = max / 127.0f;
    const float inverse = 127.0f / max;
    __m256i q = _mm256_setzero_si256();
    if (inverse > 0.0f && inverse <= FLT_MAX) {
      const __m256 factor = _mm256_set1_ps(inverse);
      __m256i rounded[4];
      for (int i = 0; i < 4; ++i) rounded[i] = _mm256_cvtps_epi32(_mm256_mul_ps(part[i], factor));
      // The packs work within 128-bit lanes; the permutation restores the order of the quads.
      q = _mm256_packs_epi16(_mm256_packs_epi32(rounded[0], rounded[1]),
                             _mm256_packs_epi32(rounded[2], rounded[3]));
      q = _mm256_permutevar8x32_epi32(q, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    }
    // Sums of 16 bytes by vpsadbw, which is unsigned: offset by 128 each.
    const __m256i flip = _mm256_set1_epi8(static_cast<char>(0x80));
    const __m256i sad = _mm256_sad_epu8(_mm256_xor_si256(q, flip), _mm256_setzero_si256());
    const std::int32_t first =
        _mm256_extract_epi32(sad, 0) + _mm256_extract_epi32(sad, 2) - 16 * 128;
    const std::int32_t sum =
        first + _mm256_extract_epi32(sad, 4) + _mm256_extract_epi32(sad, 6) - 16 * 128;

    activation_part& rows = target.groups[g].part[target.row_in_tile / part_rows];
    _mm256_store_si256(reinterpret_cast<__m256i*>(target.groups[g].values[target.row_in_tile]), q);
    rows.scale[r] = scale;
    rows.scaled_sum[r] = scale * static_cast<float>(sum);
    rows.minus_sum[r] = -sum;
    rows.minus_first_sum[r] = -first;
  }
}

}  // namespace

void quantize_avx2(const float_block& x, const row_target& target) {
  quantize_row_by_row<quantize_row>(x, target);
}

}  // namespace troupe::kernels
