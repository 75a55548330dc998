// Reads GGUF's quantized blocks one group of 32 elements at a time, in the one form that
// dequantizing and repacking share: weight = scale * (q - offset) + minimum with unsigned q. Block
// layouts are those of ggml's block_q* structs; the scales of K-quants are multiplied out in float
// in the order of the `gguf` Python package.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/base/dtype.hpp"

namespace troupe::kernels {

inline constexpr std::size_t quantized_group_size = 32;

struct quantized_group {
  std::array<std::uint8_t, quantized_group_size> q;
  std::array<float, 2> scale;  ///< of the first and of the second 16 elements
  float minimum;               ///< added; 0 where the type has none
};

/// True for the types that read_group knows.
[[nodiscard]] bool is_quantized(dtype type) noexcept;

/// True where `minimum` is part of the type (Q4_1, Q5_1, Q4_K, Q5_K).
[[nodiscard]] bool has_minimum(dtype type) noexcept;

/// What is taken off q: 0 for types with a minimum, else a power of two.
[[nodiscard]] int quantized_offset(dtype type) noexcept;

/// Reads elements 32 * group .. 32 * group + 31 of a row of whole blocks that starts at `row`.
void read_group(dtype type, const std::byte* row, std::size_t group, quantized_group& out) noexcept;

}  // namespace troupe::kernels
