// CPython's `random.Random` for an integer seed: the Mersenne Twister, seeded by init_by_array, and
// the methods whose draws decide which conversations vLLM's client takes. The same seed takes the
// same conversations in the same order. (Matsumoto and Nishimura's mt19937ar.c; CPython's
// Lib/random.py.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

namespace troupe::bench {

class python_random {
 public:
  explicit python_random(std::uint64_t seed);

  /// Uniform on [0, bound); bound is 1 to 2^32 - 1.
  std::uint32_t below(std::uint32_t bound);

  template <class T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t i = values.size(); i-- > 1;)
      std::swap(values[i], values[below(static_cast<std::uint32_t>(i + 1))]);
  }

 private:
  std::mt19937 words_;
};

}  // namespace troupe::bench
