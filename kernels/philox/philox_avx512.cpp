#include "kernels/base/avx512_intrinsics.hpp"
#include "kernels/philox/philox.hpp"

namespace troupe::kernels::detail {

namespace {

struct products {
  __m512i low, high;
};

products multiply(__m512i x, __m512i factor) {
  const __m512i even = _mm512_mul_epu32(x, factor);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), factor);
  return {_mm512_mask_mov_epi32(even, 0xAAAA, _mm512_slli_epi64(odd, 32)),
          _mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xAAAA, odd)};
}

__m512i broadcast(std::uint32_t x) {
  return _mm512_set1_epi32(static_cast<int>(x));
}

}  // namespace

void make_philox_avx512(const philox_counter& first, const philox_key& key, philox_sixteen& out) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i word[4] = {_mm512_add_epi32(broadcast(first[0]), lanes), broadcast(first[1]),
                     broadcast(first[2]), broadcast(first[3])};
  std::uint32_t key0 = key[0], key1 = key[1];
  for (int round = 0; round < philox_rounds; ++round) {
    const products p0 = multiply(word[0], broadcast(philox_factor0));
    const products p1 = multiply(word[2], broadcast(philox_factor1));
    word[0] = _mm512_xor_si512(_mm512_xor_si512(p1.high, word[1]), broadcast(key0));
    word[1] = p1.low;
    word[2] = _mm512_xor_si512(_mm512_xor_si512(p0.high, word[3]), broadcast(key1));
    word[3] = p0.low;
    key0 += philox_step0;
    key1 += philox_step1;
  }
  for (int i = 0; i < 4; ++i) _mm512_store_si512(out.words[i], word[i]);
  const __m512i larger =
      _mm512_max_epu32(_mm512_max_epu32(word[0], word[1]), _mm512_max_epu32(word[2], word[3]));
  out.largest = _mm512_reduce_max_epu32(larger);
}

}  // namespace troupe::kernels::detail
