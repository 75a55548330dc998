// Limit loops of plain x86-64: bytes are multiplied as 16-bit integers, and there is no fused
// multiply-add.
#include <emmintrin.h>
#include <xmmintrin.h>

#include "bench/kernels/limit_loops.hpp"

namespace troupe::bench {
namespace {

constexpr int chain_count = 6;

std::uint64_t int8_dot(std::size_t round_count) {
  __m128i acc[chain_count], weight = _mm_set1_epi16(3), value = _mm_set1_epi16(-5);
#pragma GCC unroll 32
  for (auto& chain : acc) {
    chain = _mm_setzero_si128();
    __asm__ volatile("" : "+x"(chain));  // or all chains would be one
  }
  for (std::size_t round = 0; round < round_count; ++round) {
#pragma GCC unroll 32
    for (auto& chain : acc) {
      __asm__ volatile("" : "+x"(value));
      chain = _mm_add_epi32(chain, _mm_madd_epi16(weight, value));
    }
  }
#pragma GCC unroll 32
  for (int i = 1; i < chain_count; ++i) acc[0] = _mm_xor_si128(acc[0], acc[i]);
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(acc[0]));
}

std::uint64_t f32_fma(std::size_t round_count) {
  __m128 acc[chain_count], factor = _mm_set1_ps(1e-3f), value = _mm_set1_ps(1e-3f);
#pragma GCC unroll 32
  for (auto& chain : acc) {
    chain = _mm_setzero_ps();
    __asm__ volatile("" : "+x"(chain));  // or all chains would be one
  }
  for (std::size_t round = 0; round < round_count; ++round) {
#pragma GCC unroll 32
    for (auto& chain : acc) {
      __asm__ volatile("" : "+x"(value));
      chain = _mm_add_ps(chain, _mm_mul_ps(factor, value));
    }
  }
#pragma GCC unroll 32
  for (int i = 1; i < chain_count; ++i) acc[0] = _mm_add_ps(acc[0], acc[i]);
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm_castps_si128(acc[0])));
}

std::uint64_t read(const std::byte* first, std::size_t byte_count, std::size_t prefetch_bytes) {
  __m128i acc[8];
#pragma GCC unroll 32
  for (auto& chain : acc) chain = _mm_setzero_si128();
  for (std::size_t at = 0; at < byte_count; at += 128) {
    if (prefetch_bytes != 0) {
      _mm_prefetch(reinterpret_cast<const char*>(first + at + prefetch_bytes), _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(first + at + prefetch_bytes + 64), _MM_HINT_T0);
    }
#pragma GCC unroll 32
    for (std::size_t i = 0; i < 8; ++i) {
      const auto* from = reinterpret_cast<const __m128i*>(first + at + 16 * i);
      acc[i] = _mm_xor_si128(acc[i], _mm_load_si128(from));
    }
  }
#pragma GCC unroll 32
  for (int i = 1; i < 8; ++i) acc[0] = _mm_xor_si128(acc[0], acc[i]);
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(acc[0]));
}

}  // namespace

const limit_loops limit_loops_sse2{
    {int8_dot, chain_count * 8 * 2.0}, {f32_fma, chain_count * 4 * 2.0}, read};

}  // namespace troupe::bench
