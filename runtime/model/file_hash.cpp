#include "runtime/model/file_hash.hpp"

#include <array>
#include <bit>
#include <cstring>

namespace troupe {

static_assert(std::endian::native == std::endian::little, "words are read in little-endian order");

namespace {

constexpr std::size_t lane_count = 4;
constexpr std::size_t lane_bytes = 16;
constexpr std::size_t stripe_bytes = lane_count * lane_bytes;

// Fractional bits of pi (OEIS A062964), the usual source of constants with nothing up the sleeve.
constexpr std::array<std::uint64_t, 6> keys = {
    0x243F6A8885A308D3u, 0x13198A2E03707344u, 0xA4093822299F31D0u,
    0x082EFA98EC4E6C89u, 0x452821E638D01377u, 0xBE5466CF34E90C6Cu,
};

inline std::uint64_t multiply_fold(std::uint64_t a, std::uint64_t b) noexcept {
  __extension__ using uint128 = unsigned __int128;
  const uint128 product = static_cast<uint128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline std::uint64_t load(const std::byte* bytes) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

inline std::uint64_t absorb(std::uint64_t state, std::uint64_t key, std::uint64_t first,
                            std::uint64_t second) noexcept {
  return multiply_fold(first ^ key, second ^ state) ^ std::rotl(state, 23);
}

}  // namespace

std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t seed) noexcept {
  std::array<std::uint64_t, lane_count> lanes{};
  for (std::size_t i = 0; i < lane_count; ++i) lanes[i] = seed ^ keys[i];

  const std::byte* next = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= stripe_bytes; next += stripe_bytes, left -= stripe_bytes) {
    for (std::size_t i = 0; i < lane_count; ++i) {
      const std::byte* words = next + i * lane_bytes;
      lanes[i] = absorb(lanes[i], keys[i], load(words), load(words + 8));
    }
  }
  // The tail is padded with zeros to a whole stripe; the length, hashed last, tells paddings apart.
  if (left > 0) {
    std::array<std::byte, stripe_bytes> tail{};
    std::memcpy(tail.data(), next, left);
    for (std::size_t i = 0; i < lane_count; ++i) {
      const std::byte* words = tail.data() + i * lane_bytes;
      lanes[i] = absorb(lanes[i], keys[i], load(words), load(words + 8));
    }
  }

  std::uint64_t hash = absorb(seed, keys[4], bytes.size(), keys[5]);
  for (const std::uint64_t lane : lanes) hash = absorb(hash, keys[4], lane, keys[5]);
  return multiply_fold(hash ^ keys[0], hash ^ keys[5]);
}

}  // namespace troupe
