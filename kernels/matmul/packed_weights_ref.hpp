// How the specifications read packed weights, one at a time: for *_ref.cpp only.
#pragma once

#include <cmath>
#include <cstring>

#include "kernels/base/half.hpp"
#include "kernels/matmul/packed_layout.hpp"

namespace troupe::kernels {

namespace {

inline const quantized_packing& parts_of(const quantized_tile& tile) {
  return quantized_packings[static_cast<std::size_t>(tile.format)];
}

inline const std::uint8_t* block_at(const quantized_tile& tile, const std::uint8_t* panel,
                                    std::size_t group) {
  const quantized_packing& parts = parts_of(tile);
  return panel + tile.group_count * parts.group_bytes +
         group / parts.block_groups * parts.block_scale_bytes;
}

/// Those of the 16 outputs at 0, then at 16 what is second.
inline const std::uint8_t* factors_at(const quantized_tile& tile, const std::uint8_t* panel,
                                      std::size_t group) {
  const quantized_packing& parts = parts_of(tile);
  return block_at(tile, panel, group) + parts.factors_offset + group % parts.block_groups * 32;
}

/// Of a format with zero points: its output's 8 * (z - 128) + f.
inline int zero_point_at(const quantized_tile& tile, const std::uint8_t* panel, std::size_t group,
                         std::size_t lane) {
  const quantized_packing& parts = parts_of(tile);
  const int z = factors_at(tile, panel, group)[16 + lane];
  const int both = block_at(
      tile, panel, group)[parts.fractions_offset + group % parts.block_groups * 8 + lane % 8];
  return (z - (1 << zero_point_offset_shift)) * (1 << fraction_shift) +
         (lane < 8 ? both & 15 : both >> 4);
}

/// Unsigned, as stored.
inline int weight_at(const quantized_tile& tile, const std::uint8_t* panel, std::size_t group,
                     std::size_t k, std::size_t lane) {
  const std::uint8_t* q = panel + group * parts_of(tile).group_bytes;
  const std::size_t quad = k / 4, byte = 4 * lane + k % 4;
  const weight_form form = parts_of(tile).form;
  if (form == weight_form::bytes) return q[64 * quad + byte];
  const int low = q[64 * (quad % 4) + byte] >> (quad < 4 ? 0 : 4) & 0x0F;
  if (form == weight_form::nibbles) return low;
  return low | (q[64 * (4 + quad / 4) + byte] >> 2 * (quad % 4) & 3) << 4;
}

inline float half_at(const std::uint8_t* halves, std::size_t lane) {
  std::uint16_t half;
  std::memcpy(&half, halves + lane * sizeof half, sizeof half);
  return half_to_float(half);
}

/// A weight of the group's first 16 columns is (q - offset) * d * first_factor, or q * that +
/// minimum * minimum_factor.
struct packed_scales {
  float d = 0.0f, minimum = 0.0f;
  float first_factor = 1.0f, second_factor = 1.0f, minimum_factor = 1.0f;
};

inline packed_scales scales_at(const quantized_tile& tile, const std::uint8_t* panel,
                               std::size_t group, std::size_t lane) {
  const quantized_packing& parts = parts_of(tile);
  const std::uint8_t* block = block_at(tile, panel, group);
  packed_scales scales;
  scales.d = half_at(block, lane);
  if (parts.has_zero_point) scales.d /= 1 << zero_point_shift;
  if (parts.has_minimum) scales.minimum = half_at(block + minima_offset, lane);
  if (parts.block_groups == 1) return scales;
  const std::uint8_t* factors = factors_at(tile, panel, group) + lane;
  scales.first_factor = static_cast<float>(static_cast<std::int8_t>(factors[0]));
  const auto second = static_cast<float>(static_cast<std::int8_t>(factors[16]));
  scales.second_factor = parts.has_halves ? second : scales.first_factor;
  if (parts.has_minimum) scales.minimum_factor = second;
  return scales;
}

template <class Output>
void for_each_output(const output_block& block, std::size_t row_count, Output output) {
  for (std::size_t row = 0; row < row_count; ++row) {
    for (std::size_t n = 0; n < block.output_count; ++n) {
      float y = output(row, n / panel_outputs, n % panel_outputs);
      if (block.bias != nullptr) y += block.bias[n];
      float& to = block.first[row * block.stride + n];
      to = block.adds ? to + y : y;
    }
  }
}

}  // namespace

}  // namespace troupe::kernels
