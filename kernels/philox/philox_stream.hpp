// Random words of a seeded stream, one after another: the same seed gives the same words on any
// machine.
#pragma once

#include <cstdint>

#include "kernels/philox/philox.hpp"

namespace troupe {

class philox_stream {
 public:
  /// Streams of one seed are independent of each other.
  philox_stream(std::uint64_t seed, std::uint32_t stream)
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        counter_{0, 0, 0, stream} {}

  std::uint32_t word() {
    if (used_ == words_.size()) {
      words_ = philox4x32(counter_, key_);
      if (++counter_[0] == 0) ++counter_[1];
      used_ = 0;
    }
    return words_[used_++];
  }
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
