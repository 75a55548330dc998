// Proves that hash_bytes is the same function everywhere (fixed values) and that it sees every bit,
// every length and the seed.
#include "runtime/model/file_hash.hpp"

#include <set>
#include <vector>

#include <catch2/catch.hpp>

using troupe::hash_bytes;

namespace {

std::vector<std::byte> counting_bytes(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + 1);
  return bytes;
}

}  // namespace

TEST_CASE("every bit, and only the bytes, decide") {
  for (const std::size_t size : {1u, 7u, 16u, 63u, 64u, 65u, 200u}) {
    auto bytes = counting_bytes(size);
    std::set<std::uint64_t> seen = {hash_bytes(bytes)};
    for (std::size_t bit = 0; bit < size * 8; ++bit) {
      bytes[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
      seen.insert(hash_bytes(bytes));
      bytes[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    }
    CHECK(seen.size() == size * 8 + 1);
    CHECK(seen.contains(hash_bytes(counting_bytes(size))));
  }
}

TEST_CASE("runs of zeros of different lengths differ") {
  std::set<std::uint64_t> seen;
  for (std::size_t size = 0; size <= 1000; ++size)
    seen.insert(hash_bytes(std::vector<std::byte>(size)));
  CHECK(seen.size() == 1001);
}

TEST_CASE("a flipped bit flips half of the hash") {
  auto bytes = counting_bytes(256);
  const std::uint64_t original = hash_bytes(bytes);
  int flipped = 0;
  for (std::size_t bit = 0; bit < 256 * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    flipped += __builtin_popcountll(original ^ hash_bytes(bytes));
    bytes[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
  }
  // 2048 x 64 fair coins: mean 65,536 and standard deviation 181; the interval is five of them.
  CHECK(flipped > 65'536 - 905);
  CHECK(flipped < 65'536 + 905);
}

TEST_CASE("the seed matters, and the values are fixed for ever") {
  const auto bytes = counting_bytes(100);
  CHECK(hash_bytes(bytes, 1) != hash_bytes(bytes, 2));
  CHECK(hash_bytes({}) == 0xB4886149D6026A96u);
  CHECK(hash_bytes(bytes) == 0xD7818C742A899F6Cu);
  CHECK(hash_bytes(bytes, 42) == 0x2E8F7A4EF781D089u);
}
