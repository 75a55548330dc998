// What the variants of matmul share: the layouts of packed weights and of activation tiles, and the
// arguments of one tile. Plain data only: this header is compiled into translation units with
// different instruction sets, so it must never hold a function that a linker could pick from one
// for another.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/matmul/bf16_layout.hpp"

namespace troupe::kernels {

/// Outputs in a panel: one AVX-512 register of floats, two AVX2 registers.
inline constexpr std::size_t panel_outputs = 16;
/// Rows of activations in a tile. 16 float accumulators beside 8 registers of weights leave 8 of
/// the 32 AVX-512 registers for dot products and scales.
inline constexpr std::size_t tile_rows = 16;

/// A panel of a quantized matrix is all its groups' q, then all its groups' scales, zero-padded to
/// 64 bytes. "Quad j" of a group is its elements 4j .. 4j+3, which one 32-bit lane of vpdpbusd or
/// maddubs takes:
///   nibbles: 4 x 64 bytes a group. Byte 4 * output + b of part i holds element b of quad i in its
///            low and of quad i + 4 in its high nibble.
///   sixes:   nibbles, of the low 4 bits, then 2 x 64 bytes. Bits 2i of byte 4 * output + b of
///            part p are the upper bits of element b of quad 4p + i.
///   bytes:   8 x 64 bytes a group. Byte 4 * output + b of part j is element b of quad j.
/// Scales come by block: 16 f16 d, 16 f16 minima where the type has them. Where a block is several
/// groups, then for each group 16 int8 which times d are its scales, and 16 which times the block's
/// minima are its minima, or times d the scales of its second half.
/// With zero points a weight is d / 8 * (8 * q + z - 128 + f / 8): a byte, less an offset as
/// others have, and a fraction that is multiplied with the sum of a group's activations only. 16 z
/// lie where a block's minimum factors would: behind d, or behind the group's factors. After that,
/// 8 bytes for each group: f of output i in the low nibble of byte i, of output i + 8 in the high.
/// A panel of a float matrix is columns x 16 elements as in the file.
enum class packing : std::uint8_t {
  nibbles_zero_point,         // Q4_1, where all minima allow it
  nibbles_zero_point_blocks,  // Q4_K, the same
  nibbles_minimum,            // Q4_1 elsewhere, and for bf16
  nibbles_minimum_blocks,     // Q4_K, the same
  nibbles_offset,             // Q4_0
  bytes_minimum,              // Q5_1
  bytes_minimum_blocks,       // Q5_K
  bytes_offset,               // Q5_0, Q8_0
  sixes_halves_blocks,        // Q6_K
  bytes_halves_blocks,        // Q6_K for AVX2
  f32,
  f16,
  bf16,
  f8,
};

enum class weight_form : std::uint8_t { nibbles, sixes, bytes };

struct quantized_packing {
  weight_form form;
  bool has_minimum;
  bool has_zero_point;
  bool has_halves;                // a scale for each 16 elements
  std::size_t group_bytes;        // of a group's q
  std::size_t block_groups;       // groups that share d
  std::size_t factors_offset;     // of the first group's, in a block's scales: two of 16 bytes (one
                                  // group with a zero point has the second only)
  std::size_t fractions_offset;   // of the first group's f, in a block's scales
  std::size_t block_scale_bytes;  // of a block's scales
  std::size_t group_lines;        // 64 bytes each: a group with its part of the scales
};
/// By packing, as far as they are quantized, in its order.
inline constexpr quantized_packing quantized_packings[] = {
    {weight_form::nibbles, false, true, false, 256, 1, 16, 48, 56, 5},
    {weight_form::nibbles, false, true, false, 256, 8, 32, 288, 288 + 8 * 8, 5},
    {weight_form::nibbles, true, false, false, 256, 1, 64, 0, 64, 5},
    {weight_form::nibbles, true, false, false, 256, 8, 64, 0, 64 + 8 * 32, 5},
    {weight_form::nibbles, false, false, false, 256, 1, 32, 0, 32, 5},
    {weight_form::bytes, true, false, false, 512, 1, 64, 0, 64, 9},
    {weight_form::bytes, true, false, false, 512, 8, 64, 0, 64 + 8 * 32, 9},
    {weight_form::bytes, false, false, false, 512, 1, 32, 0, 32, 9},
    {weight_form::sixes, false, false, true, 384, 8, 32, 0, 32 + 8 * 32, 7},
    {weight_form::bytes, false, false, true, 512, 8, 32, 0, 32 + 8 * 32, 9},
};
/// Of zero points: the shifts that take q to steps of z, z to steps of f, and 1 to z's offset.
/// Eight times the largest q and the largest z that fits beside it are 255.
inline constexpr int zero_point_shift = 3, fraction_shift = 3, zero_point_offset_shift = 7;
inline constexpr std::size_t fraction_count = 1 << fraction_shift;
/// In the upper half of a lane whose lower half is multiplied with a sum in 16 bits, beside 1: the
/// product of both halves, shifted by fraction_shift, is then rounded, halves up.
inline constexpr int rounded_upper_half = 1 << (fraction_shift - 1) << 16;
/// The f16 minima of a block, behind its 16 f16 d.
inline constexpr std::size_t minima_offset = 32;

/// Quantized rows that may be written by one thread while others write the rest of their tile: no
/// cache line is shared.
inline constexpr std::size_t part_rows = 8;
struct alignas(64) activation_part {
  float scale[part_rows];
  float scaled_sum[part_rows];  // scale * float(sum of the group's values), rounded once
  // The sum, and that of the first 16 values, negated: a shift makes of either what a dot product
  // with weights that have an offset begins with.
  std::int32_t minus_sum[part_rows];
  std::int32_t minus_first_sum[part_rows];
};

/// One group of 32 columns of up to 16 quantized rows; a tile is group_count of them. Everything a
/// panel kernel reads for a group lies within constant distances of one pointer.
struct alignas(64) activation_group {
  std::int8_t values[tile_rows][32];
  // What a row's dot products with weights that have zero points begin with, for each f:
  // -128 * sum + (f * sum + 4 >> 3). Made by quantize_avx512 only. It is looked up among twice as
  // many entries, so something must follow it.
  std::int32_t offset_sums[tile_rows][fraction_count];
  activation_part part[tile_rows / part_rows];  // row r is row r % 8 of part r / 8
};

static_assert(offsetof(activation_group, offset_sums) == sizeof(activation_group::values));
static_assert(sizeof(activation_group) - offsetof(activation_group, part) >=
              sizeof(activation_group::offset_sums[0]));

/// Some columns of some rows of floats.
struct float_block {
  const float* first;  // of the first row, its first column
  std::size_t stride;  // elements between rows
  std::size_t row_count;
  std::size_t column_count;

  [[nodiscard]] const float* row(std::size_t index) const noexcept {
    return first + index * stride;
  }
};

/// Where columns of one quantized row go, or of several that follow each other in a part.
struct row_target {
  // Of the row's tile, the one of the first column, and on: one of the two, as the variant has it.
  activation_group* groups;
  bf16_group* bf16_groups;
  std::size_t row_in_tile;  // of the first row, 0 .. tile_rows - 1
};

/// Outputs common to both kinds of tile: rows x (up to panel_count * 16) of a row-major matrix.
struct output_block {
  float* first;              // row 0, output 0 of the first panel
  std::size_t stride;        // elements between rows
  const float* bias;         // of output 0 of the first panel, or nullptr
  bool adds;                 // to what is there
  std::size_t output_count;  // outputs to write; the last panel may be partial
};

class read_ahead;

struct quantized_tile {
  packing format;
  int offset_shift;     // offset == 1 << offset_shift; read where there are no minima
  int scale_shift;      // in bf16: weights are multiplied by 2^scale_shift first
  float output_factor;  // in bf16: of sums, at the end
  const std::uint8_t* panels;
  std::size_t panel_bytes;  // between panels; a multiple of 64
  std::size_t panel_count;
  const std::uint8_t*
      next_panel;     // what this thread will probably read after these; only prefetched
  read_ahead* ahead;  // what else panels ask for, or nullptr
  std::size_t group_count;
  // Of the first tile of rows, the next one follows: one of the two, as the variant has it.
  const activation_group* activations;
  const bf16_group* bf16_activations;
  std::size_t row_count;  // 1 .. rows_max of the variant
  output_block output;
};

struct float_tile {
  packing format;
  const std::uint8_t* panels;
  std::size_t panel_bytes;
  std::size_t panel_count;
  std::size_t column_count;
  const float* rows;
  std::size_t row_stride;  // elements
  std::size_t row_count;   // at least 1
  output_block output;
};

/// The entry points of one variant.
struct matmul_kernels {
  std::size_t rows_max;          // that `quantized` takes at once: whole tiles of rows
  std::size_t outputs_together;  // that it is fastest with: tasks are multiples of it
  // That are worth unpacking all weights for on a thread of its own.
  std::size_t rows_alone_min;
  // For planning, of a group and a panel: what unpacking takes, and a row's vector instructions or
  // what takes as long.
  std::size_t unpack_cycles, row_instructions;
  // Rows of one part.
  void (*quantize)(const float_block& x, const row_target& target);
  void (*quantized)(const quantized_tile& tile);
  void (*floats)(const float_tile& tile);
};

/// What quantizes a row, as a matmul_kernels::quantize of several.
template <void (*QuantizeRow)(const float*, std::size_t, const row_target&)>
void quantize_row_by_row(const float_block& x, const row_target& target) {
  row_target to = target;
  for (std::size_t i = 0; i < x.row_count; ++i, ++to.row_in_tile)
    QuantizeRow(x.row(i), x.column_count, to);
}

void quantize_avx2(const float_block& x, const row_target& target);
void quantize_avx512(const float_block& x, const row_target& target);

extern const matmul_kernels matmul_reference;
extern const matmul_kernels matmul_bf16_reference;
extern const matmul_kernels matmul_avx2;
extern const matmul_kernels matmul_avx512;
/// Gives matmul_avx512's bits, from so many rows on in less time; where a group has one scale.
extern const matmul_kernels matmul_bytes_amx;
inline constexpr std::size_t byte_tiles_rows_min = 64;
extern const matmul_kernels matmul_amx;

}  // namespace troupe::kernels
