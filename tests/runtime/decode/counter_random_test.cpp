// Philox4x32-10 against the known-answer vectors that Random123 publishes (tests/kat_vectors), and
// the independence of the noise from everything but its address.
#include "runtime/decode/counter_random.hpp"

#include <set>

#include <catch2/catch.hpp>

using namespace troupe;

TEST_CASE("philox4x32-10 gives the published answers") {
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) ==
        philox_counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
        philox_counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        philox_counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("uniforms are inside the open interval") {
  CHECK(uniform_of(0) > 0.0);
  CHECK(uniform_of(0xffffffff) < 1.0);
  CHECK(uniform_of(0x80000000) == Approx(0.5));
}

TEST_CASE("each part of the address changes the block") {
  std::set<philox_counter> seen;
  for (const std::uint64_t seed : {0ull, 1ull, 1ull << 32}) {
    for (const std::uint32_t sequence : {0u, 1u}) {
      for (const std::uint64_t position : {0ull, 1ull, 1ull << 32}) {
        for (const std::uint32_t block : {0u, 1u}) {
          CHECK(seen.insert(token_noise(seed, sequence, position).block(block)).second);
        }
      }
    }
  }
}
