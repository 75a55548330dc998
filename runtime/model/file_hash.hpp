// A fast 64-bit hash of large byte ranges, to tell model files apart. Not cryptographic: it
// protects against mix-ups, not against a forger.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace troupe {

/// The same value on every machine, compiler and run: it is stored in caches that outlive a
/// process.
///
/// Method: "multiply and fold" as in the wyhash family (Wang Yi, 2019): 64 x 64 -> 128-bit products
/// whose halves are XORed, over four independent lanes of 16 bytes so that the multiplier, and then
/// the memory, is the limit. Each lane also rotates its old state in, because a product with a zero
/// factor would otherwise forget everything before it.
std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t seed = 0) noexcept;

}  // namespace troupe
