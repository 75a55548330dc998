#include <immintrin.h>

#include "kernels/philox/philox.hpp"

namespace troupe::kernels::detail {

namespace {

struct products {
  __m256i low, high;
};

products multiply(__m256i x, __m256i factor) {
  const __m256i even = _mm256_mul_epu32(x, factor);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), factor);
  return {_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA),
          _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA)};
}

__m256i broadcast(std::uint32_t x) {
  return _mm256_set1_epi32(static_cast<int>(x));
}

std::uint32_t largest_lane(__m256i x) {
  __m128i four = _mm_max_epu32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0x4E));
  four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0xB1));
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(four));
}

/// Counters first .. first + 7 into out.words[...][offset ..]; the largest word of each lane.
__m256i make_eight(const philox_counter& first, std::uint32_t offset, const philox_key& key,
                   philox_sixteen& out) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  __m256i word[4] = {_mm256_add_epi32(broadcast(first[0] + offset), lanes), broadcast(first[1]),
                     broadcast(first[2]), broadcast(first[3])};
  std::uint32_t key0 = key[0], key1 = key[1];
  for (int round = 0; round < philox_rounds; ++round) {
    const products p0 = multiply(word[0], broadcast(philox_factor0));
    const products p1 = multiply(word[2], broadcast(philox_factor1));
    word[0] = _mm256_xor_si256(_mm256_xor_si256(p1.high, word[1]), broadcast(key0));
    word[1] = p1.low;
    word[2] = _mm256_xor_si256(_mm256_xor_si256(p0.high, word[3]), broadcast(key1));
    word[3] = p0.low;
    key0 += philox_step0;
    key1 += philox_step1;
  }
  for (int i = 0; i < 4; ++i)
    _mm256_store_si256(reinterpret_cast<__m256i*>(out.words[i] + offset), word[i]);
  return _mm256_max_epu32(_mm256_max_epu32(word[0], word[1]), _mm256_max_epu32(word[2], word[3]));
}

}  // namespace

void make_philox_avx2(const philox_counter& first, const philox_key& key, philox_sixteen& out) {
  const __m256i low = make_eight(first, 0, key, out);
  const __m256i high = make_eight(first, 8, key, out);
  out.largest = largest_lane(_mm256_max_epu32(low, high));
}

}  // namespace troupe::kernels::detail
