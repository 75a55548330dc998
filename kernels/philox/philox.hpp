// Random words as a pure function of a key and a counter: Philox4x32-10 (Salmon, Moraes, Dror,
// Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.3); and sixteen counters
// at a time on vectors, the same words.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/base/cpu_features.hpp"

namespace troupe {

using philox_counter = std::array<std::uint32_t, 4>;
using philox_key = std::array<std::uint32_t, 2>;

inline constexpr std::uint32_t philox_factor0 = 0xD2511F53u, philox_factor1 = 0xCD9E8D57u;
inline constexpr std::uint32_t philox_step0 = 0x9E3779B9u;  ///< golden ratio
inline constexpr std::uint32_t philox_step1 = 0xBB67AE85u;  ///< sqrt(3) - 1
inline constexpr int philox_rounds = 10;

/// The output is four independent words, uniform on 32 bits.
constexpr philox_counter philox4x32(philox_counter counter, philox_key key) noexcept {
  for (int round = 0; round < philox_rounds; ++round) {
    const std::uint64_t product0 = std::uint64_t{philox_factor0} * counter[0];
    const std::uint64_t product1 = std::uint64_t{philox_factor1} * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key[0] += philox_step0;
    key[1] += philox_step1;
  }
  return counter;
}

namespace kernels {

struct philox_sixteen {
  alignas(64) std::uint32_t words[4][16];  ///< [word][counter]
  std::uint32_t largest;                   ///< of all 64
};

/// The words of counters {first[0] + i, first[1], first[2], first[3]}, i = 0 .. 15 (modulo 2^32).
void make_philox(isa set, const philox_counter& first, const philox_key& key, philox_sixteen& out);

namespace detail {
void make_philox_ref(const philox_counter& first, const philox_key& key, philox_sixteen& out);
void make_philox_avx2(const philox_counter& first, const philox_key& key, philox_sixteen& out);
void make_philox_avx512(const philox_counter& first, const philox_key& key, philox_sixteen& out);
}  // namespace detail

}  // namespace kernels

}  // namespace troupe
