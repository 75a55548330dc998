// Limit loops of AVX-512 with VNNI: vpdpbusd, vfmadd and 64-byte loads.
#include <immintrin.h>

#include "bench/kernels/limit_loops.hpp"

// GCC 12's own header starts results from self-initialized "undefined" registers (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

namespace troupe::bench {
namespace {

constexpr int chain_count = 20;  // two a cycle, each 4 or 5 cycles long, and to spare

std::uint64_t fold(__m512i x) {
  return static_cast<std::uint64_t>(_mm512_reduce_add_epi64(x));
}

std::uint64_t int8_dot(std::size_t round_count) {
  __m512i acc[chain_count], weight = _mm512_set1_epi8(3), value = _mm512_set1_epi8(-5);
#pragma GCC unroll 32
  for (auto& chain : acc) {
    chain = _mm512_setzero_si512();
    __asm__ volatile("" : "+v"(chain));  // or all chains would be one
  }
  for (std::size_t round = 0; round < round_count; ++round) {
#pragma GCC unroll 32
    for (auto& chain : acc) chain = _mm512_dpbusd_epi32(chain, weight, value);
  }
#pragma GCC unroll 32
  for (int i = 1; i < chain_count; ++i) acc[0] = _mm512_xor_si512(acc[0], acc[i]);
  return fold(acc[0]);
}

std::uint64_t f32_fma(std::size_t round_count) {
  __m512 acc[chain_count], factor = _mm512_set1_ps(1e-3f), value = _mm512_set1_ps(1e-3f);
#pragma GCC unroll 32
  for (auto& chain : acc) {
    chain = _mm512_setzero_ps();
    __asm__ volatile("" : "+v"(chain));  // or all chains would be one
  }
  __asm__ volatile("" : "+v"(value), "+v"(factor));
  for (std::size_t round = 0; round < round_count; ++round) {
#pragma GCC unroll 32
    for (auto& chain : acc) chain = _mm512_fmadd_ps(factor, value, chain);
  }
#pragma GCC unroll 32
  for (int i = 1; i < chain_count; ++i) acc[0] = _mm512_add_ps(acc[0], acc[i]);
  return fold(_mm512_castps_si512(acc[0]));
}

std::uint64_t read(const std::byte* first, std::size_t byte_count, std::size_t prefetch_bytes) {
  __m512i acc[8];
#pragma GCC unroll 32
  for (auto& chain : acc) chain = _mm512_setzero_si512();
  for (std::size_t at = 0; at < byte_count; at += 512) {
    if (prefetch_bytes != 0) {
      for (std::size_t i = 0; i < 512; i += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(first + at + prefetch_bytes + i), _MM_HINT_T0);
      }
    }
#pragma GCC unroll 32
    for (std::size_t i = 0; i < 8; ++i) {
      acc[i] = _mm512_xor_si512(acc[i], _mm512_load_si512(first + at + 64 * i));
    }
  }
#pragma GCC unroll 32
  for (int i = 1; i < 8; ++i) acc[0] = _mm512_xor_si512(acc[0], acc[i]);
  return fold(acc[0]);
}

}  // namespace

const limit_loops limit_loops_avx512{
    {int8_dot, chain_count * 64 * 2.0}, {f32_fma, chain_count * 16 * 2.0}, read};

}  // namespace troupe::bench
