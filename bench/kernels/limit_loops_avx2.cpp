// Limit loops of AVX2 and FMA. The integer loop is the chain that 4-bit weights allow: eight
// products of vpmaddubsw fit a 16-bit sum, which is then widened once.
#include <immintrin.h>

#include "bench/kernels/limit_loops.hpp"

namespace troupe::bench {
namespace {

constexpr int dot_chain_count = 4;
constexpr int products_per_sum = 8;
constexpr int fma_chain_count = 12;  // two a cycle, each 4 or 5 cycles long

std::uint64_t fold(__m256i x) {
  const __m128i half = _mm_xor_si128(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(half));
}

std::uint64_t int8_dot(std::size_t round_count) {
  __m256i acc[dot_chain_count], weight = _mm256_set1_epi8(3), value = _mm256_set1_epi8(-5);
#pragma GCC unroll 32
  for (auto& chain : acc) {
    chain = _mm256_setzero_si256();
    __asm__ volatile("" : "+x"(chain));  // or all chains would be one
  }
  const __m256i ones = _mm256_set1_epi16(1);
  for (std::size_t round = 0; round < round_count; ++round) {
    __m256i sum[dot_chain_count];
#pragma GCC unroll 32
    for (auto& chain : sum) chain = _mm256_setzero_si256();
#pragma GCC unroll 32
    for (int i = 0; i < products_per_sum; ++i) {
#pragma GCC unroll 32
      for (auto& chain : sum) {
        __asm__ volatile("" : "+x"(value));
        chain = _mm256_add_epi16(chain, _mm256_maddubs_epi16(weight, value));
        // Or GCC makes trees of the chains and spills.
        __asm__ volatile("" : "+x"(chain));
      }
    }
#pragma GCC unroll 32
    for (int i = 0; i < dot_chain_count; ++i) {
      acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(sum[i], ones));
    }
  }
#pragma GCC unroll 32
  for (int i = 1; i < dot_chain_count; ++i) acc[0] = _mm256_xor_si256(acc[0], acc[i]);
  return fold(acc[0]);
}

std::uint64_t f32_fma(std::size_t round_count) {
  __m256 acc[fma_chain_count], factor = _mm256_set1_ps(1e-3f), value = _mm256_set1_ps(1e-3f);
#pragma GCC unroll 32
  for (auto& chain : acc) {
    chain = _mm256_setzero_ps();
    __asm__ volatile("" : "+x"(chain));  // or all chains would be one
  }
  __asm__ volatile("" : "+x"(value), "+x"(factor));
  for (std::size_t round = 0; round < round_count; ++round) {
#pragma GCC unroll 32
    for (auto& chain : acc) chain = _mm256_fmadd_ps(factor, value, chain);
  }
#pragma GCC unroll 32
  for (int i = 1; i < fma_chain_count; ++i) acc[0] = _mm256_add_ps(acc[0], acc[i]);
  return fold(_mm256_castps_si256(acc[0]));
}

std::uint64_t read(const std::byte* first, std::size_t byte_count, std::size_t prefetch_bytes) {
  __m256i acc[8];
#pragma GCC unroll 32
  for (auto& chain : acc) chain = _mm256_setzero_si256();
  for (std::size_t at = 0; at < byte_count; at += 256) {
    if (prefetch_bytes != 0) {
      for (std::size_t i = 0; i < 256; i += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(first + at + prefetch_bytes + i), _MM_HINT_T0);
      }
    }
#pragma GCC unroll 32
    for (std::size_t i = 0; i < 8; ++i) {
      const auto* from = reinterpret_cast<const __m256i*>(first + at + 32 * i);
      acc[i] = _mm256_xor_si256(acc[i], _mm256_load_si256(from));
    }
  }
#pragma GCC unroll 32
  for (int i = 1; i < 8; ++i) acc[0] = _mm256_xor_si256(acc[0], acc[i]);
  return fold(acc[0]);
}

}  // namespace

const limit_loops limit_loops_avx2{{int8_dot, dot_chain_count* products_per_sum * 32 * 2.0},
                                   {f32_fma, fma_chain_count * 8 * 2.0},
                                   read};

}  // namespace troupe::bench
