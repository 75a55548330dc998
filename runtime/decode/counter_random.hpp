// A token's noise: random words that depend only on (seed, sequence, position, vocabulary index),
// never on what was drawn before.
#pragma once

#include <cstdint>

#include "kernels/philox/philox.hpp"

namespace troupe {

/// The noise of one drawn token: word i % 4 of block i / 4 belongs to vocabulary index i.
class token_noise {
 public:
  constexpr token_noise(std::uint64_t seed, std::uint32_t sequence, std::uint64_t position) noexcept
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        sequence_(sequence),
        position_(position) {}

  [[nodiscard]] constexpr philox_counter block(std::uint32_t index_over_4) const noexcept {
    return philox4x32(counter(index_over_4), key_);
  }
  /// Blocks index_over_4 .. index_over_4 + 15.
  void sixteen_blocks(isa set, std::uint32_t index_over_4, kernels::philox_sixteen& out) const {
    kernels::make_philox(set, counter(index_over_4), key_, out);
  }

 private:
  [[nodiscard]] constexpr philox_counter counter(std::uint32_t index_over_4) const noexcept {
    return {index_over_4, sequence_, static_cast<std::uint32_t>(position_),
            static_cast<std::uint32_t>(position_ >> 32)};
  }

  philox_key key_;
  std::uint32_t sequence_;
  std::uint64_t position_;
};

/// The middle of the word's cell of (0, 1): exact in double, never 0 and never 1.
constexpr double uniform_of(std::uint32_t word) noexcept {
  return (static_cast<double>(word) + 0.5) * 0x1p-32;
}

}  // namespace troupe
