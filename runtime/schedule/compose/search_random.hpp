// Draws of a seeded stream for the composer, by the project's counter generator: the same seed
// makes the same plan on any machine.
#pragma once

#include <cstdint>

#include "kernels/philox/philox_stream.hpp"
#include "runtime/decode/counter_random.hpp"

namespace troupe {

class search_random {
 public:
  enum class stream : std::uint32_t { lengths, search };

  search_random(std::uint64_t seed, stream of) : words_(seed, static_cast<std::uint32_t>(of)) {}

  double uniform() { return uniform_of(words_.word()); }  ///< in (0, 1)
  /// Uniform on [0, bound); bound at least 1.
  std::uint32_t below(std::uint32_t bound) { return words_.below(bound); }

 private:
  philox_stream words_;
};

}  // namespace troupe
