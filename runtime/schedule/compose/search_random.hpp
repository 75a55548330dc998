// Draws of a seeded stream for the composer, by the project's counter generator: the same seed
// makes the same plan on any machine.
#pragma once

#include <cstdint>

#include "kernels/philox/philox.hpp"

namespace troupe {

class search_random {
 public:
  enum class stream : std::uint32_t { lengths, search };

  search_random(std::uint64_t seed, stream of)
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        counter_{0, 0, 0, static_cast<std::uint32_t>(of)} {}

  std::uint32_t word() {
    if (used_ == words_.size()) {
      words_ = philox4x32(counter_, key_);
      if (++counter_[0] == 0) ++counter_[1];
      used_ = 0;
    }
    return words_[used_++];
  }
  double uniform() { return (word() + 0.5) * 0x1p-32; }  ///< in (0, 1)
  /// Uniform on [0, bound); bound at least 1.
  std::uint32_t below(std::uint32_t bound) {
    return static_cast<std::uint32_t>(std::uint64_t{word()} * bound >> 32);
  }

 private:
  philox_key key_;
  philox_counter counter_;
  philox_counter words_{};
  unsigned used_ = 4;
};

}  // namespace troupe
