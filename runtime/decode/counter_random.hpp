// Random numbers as a pure function of a key and a counter: Philox4x32-10 (Salmon, Moraes, Dror,
// Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.3). No state, so that a
// token's noise depends only on (seed, sequence, position, vocabulary index), never on what was
// drawn before.
#pragma once

#include <array>
#include <cstdint>

namespace troupe {

using philox_counter = std::array<std::uint32_t, 4>;
using philox_key = std::array<std::uint32_t, 2>;

/// Ten rounds; the output is four independent words, uniform on 32 bits.
constexpr philox_counter philox4x32(philox_counter counter, philox_key key) noexcept {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key[0] += 0x9E3779B9u;  // golden ratio
    key[1] += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return counter;
}

/// The noise of one drawn token: word i % 4 of block i / 4 belongs to vocabulary index i.
class token_noise {
 public:
  constexpr token_noise(std::uint64_t seed, std::uint32_t sequence, std::uint64_t position) noexcept
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        sequence_(sequence),
        position_(position) {}

  [[nodiscard]] constexpr philox_counter block(std::uint32_t index_over_4) const noexcept {
    return philox4x32({index_over_4, sequence_, static_cast<std::uint32_t>(position_),
                       static_cast<std::uint32_t>(position_ >> 32)},
                      key_);
  }

 private:
  philox_key key_;
  std::uint32_t sequence_;
  std::uint64_t position_;
};

/// The middle of the word's cell of (0, 1): exact in double, never 0 and never 1.
constexpr double uniform_of(std::uint32_t word) noexcept {
  return (static_cast<double>(word) + 0.5) * 0x1p-32;
}

}  // namespace troupe
