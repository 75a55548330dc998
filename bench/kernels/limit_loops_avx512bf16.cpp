// The limit loop of VDPBF16PS, in a file of its own because AVX-512 alone does not have it.
#include <immintrin.h>

#include "bench/kernels/limit_loops.hpp"

#if defined(__GNUC__) && !defined(__clang__)  // GCC bug 105593
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

namespace troupe::bench {
namespace {

constexpr int chain_count = 20;

std::uint64_t bf16_dot(std::size_t round_count) {
  __m512 acc[chain_count];
#pragma GCC unroll 32
  for (auto& chain : acc) {
    chain = _mm512_setzero_ps();
    __asm__ volatile("" : "+v"(chain));  // or all chains would be one
  }
  __m512i weight = _mm512_set1_epi16(0x3A00), value = _mm512_set1_epi16(0x3A00);
  __asm__ volatile("" : "+v"(value), "+v"(weight));
  for (std::size_t round = 0; round < round_count; ++round) {
#pragma GCC unroll 32
    for (auto& chain : acc) {
      chain = _mm512_dpbf16_ps(chain, reinterpret_cast<__m512bh>(weight),
                               reinterpret_cast<__m512bh>(value));
    }
  }
#pragma GCC unroll 32
  for (int i = 1; i < chain_count; ++i) acc[0] = _mm512_add_ps(acc[0], acc[i]);
  return static_cast<std::uint64_t>(_mm512_reduce_add_epi64(_mm512_castps_si512(acc[0])));
}

}  // namespace

const compute_loop bf16_dot_avx512{bf16_dot, chain_count * 32 * 2.0};

}  // namespace troupe::bench
