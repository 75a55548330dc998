// Every variant of make_philox gives philox4x32's words (whose published answers
// tests/runtime/decode checks).
#include "kernels/philox/philox.hpp"

#include <random>

#include <catch2/catch.hpp>

namespace troupe {
namespace {

TEST_CASE("sixteen counters at a time give the words of one at a time") {
  std::mt19937 random(20261123);
  for (const isa set : all_isas) {
    if (!is_supported(set)) continue;
    for (int round = 0; round < 1000; ++round) {
      philox_counter first{
          static_cast<std::uint32_t>(random()), static_cast<std::uint32_t>(random()),
          static_cast<std::uint32_t>(random()), static_cast<std::uint32_t>(random())};
      if (round == 0) first[0] = 0xFFFFFFF8u;  // wraps around
      const philox_key key{static_cast<std::uint32_t>(random()),
                           static_cast<std::uint32_t>(random())};
      kernels::philox_sixteen made;
      kernels::make_philox(set, first, key, made);
      std::uint32_t largest = 0;
      bool same = true;
      for (std::uint32_t i = 0; i < 16; ++i) {
        const auto expected = philox4x32({first[0] + i, first[1], first[2], first[3]}, key);
        for (std::size_t word = 0; word < 4; ++word) {
          same = same && made.words[word][i] == expected[word];
          largest = std::max(largest, expected[word]);
        }
      }
      REQUIRE(same);
      REQUIRE(made.largest == largest);
    }
  }
}

}  // namespace
}  // namespace troupe
