#include "bench/serve/python_random.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <iterator>

#include "kernels/base/check.hpp"

namespace troupe::bench {
namespace {

constexpr std::size_t word_count = std::mt19937::state_size;

/// std::mt19937 takes its state from generate(): this one writes what init_by_array leaves.
struct array_seed {
  using result_type = std::uint32_t;
  std::vector<std::uint32_t> key;

  template <class Iterator>
  void generate(Iterator begin, Iterator end) const {
    std::array<std::uint32_t, word_count> state;
    TROUPE_CHECK(static_cast<std::size_t>(std::distance(begin, end)) == word_count);
    state[0] = 19650218u;
    for (std::uint32_t i = 1; i < word_count; ++i)
      state[i] = 1812433253u * (state[i - 1] ^ (state[i - 1] >> 30)) + i;
    std::size_t at = 1;
    const auto mix = [&](std::uint32_t factor, std::uint32_t added) {
      state[at] = (state[at] ^ ((state[at - 1] ^ (state[at - 1] >> 30)) * factor)) + added;
      if (++at < word_count) return;
      state[0] = state[word_count - 1];
      at = 1;
    };
    for (std::size_t i = 0; i < std::max(word_count, key.size()); ++i) {
      const std::size_t from = i % key.size();
      mix(1664525u, key[from] + static_cast<std::uint32_t>(from));
    }
    for (std::size_t i = 1; i < word_count; ++i)
      mix(1566083941u, 0u - static_cast<std::uint32_t>(at));
    state[0] = 0x80000000u;
    std::copy(state.begin(), state.end(), begin);
  }
};

array_seed seed_of(std::uint64_t seed) {
  array_seed out{{static_cast<std::uint32_t>(seed)}};
  if (seed >> 32 != 0) out.key.push_back(static_cast<std::uint32_t>(seed >> 32));
  return out;
}

}  // namespace

python_random::python_random(std::uint64_t seed) {
  array_seed words = seed_of(seed);
  words_.seed(words);
}

std::uint32_t python_random::below(std::uint32_t bound) {
  TROUPE_CHECK(bound > 0);
  const int bits = std::bit_width(bound);
  for (;;) {
    const auto drawn = static_cast<std::uint32_t>(words_()) >> (32 - bits);
    if (drawn < bound) return drawn;
  }
}

}  // namespace troupe::bench
