// Reads GGUF's quantized blocks one group of 32 elements at a time, in the one form that
// dequantizing and repacking share: weight = scale * (q - offset) + minimum with unsigned q. Block
// layouts are those of ggml's block_q* structs. Scales of K-quants are an f16 times an integer: at
// most 11 + 7 significant bits, so the product is exact in float.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/base/dtype.hpp"

namespace troupe::kernels {

inline constexpr std::size_t quantized_group_size = 32;

struct quantized_group {
  std::array<std::uint8_t, quantized_group_size> q;
  float d;                                   ///< an f16 of the file
  float d_minimum;                           ///< the same; 0 where the type has none
  std::array<std::int8_t, 2> scale_factors;  ///< of the first and of the second 16 elements
  std::int8_t minimum_factor;

  [[nodiscard]] float scale(std::size_t half) const noexcept {
    return d * static_cast<float>(scale_factors[half]);
  }
  /// Added.
  [[nodiscard]] float minimum() const noexcept {
    return d_minimum * static_cast<float>(minimum_factor);
  }
};

/// True for the types that read_group knows.
[[nodiscard]] bool is_quantized(dtype type) noexcept;

/// True where `minimum` is part of the type (Q4_1, Q5_1, Q4_K, Q5_K).
[[nodiscard]] bool has_minimum(dtype type) noexcept;

/// What is taken off q: 0 for types with a minimum, else a power of two.
[[nodiscard]] int quantized_offset(dtype type) noexcept;

/// Reads elements 32 * group .. 32 * group + 31 of a row of whole blocks that starts at `row`.
void read_group(dtype type, const std::byte* row, std::size_t group, quantized_group& out) noexcept;

/// The same of a block that starts at `block`; group counts within it.
void read_group_of_block(dtype type, const std::byte* block, std::size_t group,
                         quantized_group& out) noexcept;

}  // namespace troupe::kernels
