// What the variants of matmul share: the layouts of packed weights and of activation tiles, and the
// arguments of one tile. Plain data only: this header is compiled into translation units with
// different instruction sets, so it must never hold a function that a linker could pick from one
// for another.
#pragma once

#include <cstddef>
#include <cstdint>

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
///   low
///            and of quad i + 4 in its high nibble.
///   bytes:   8 x 64 bytes a group. Byte 4 * output + b of part j is element b of quad j.
///   scales:  16 scales a group, then 16 minima (*_minimum) or 16 scales of the second halves
///            (bytes_halves). f16 where the file has f16; float (wide_scales) where it is a
///            product.
/// A panel of a float matrix is columns x 16 elements as in the file.
enum class packing : std::uint8_t {
  nibbles_minimum,  // Q4_1, Q4_K
  nibbles_offset,   // Q4_0
  bytes_minimum,    // Q5_1, Q5_K
  bytes_offset,     // Q5_0, Q8_0
  bytes_halves,     // Q6_K
  f32,
  f16,
  bf16,
  f8,
};

/// Quantized rows that may be written by one thread while others write the rest of their tile: no
/// cache line is shared.
inline constexpr std::size_t part_rows = 8;
struct alignas(64) activation_part {
  std::int8_t values[part_rows][32];
  float scale[part_rows];
  float scaled_sum[part_rows];         // scale * float(total), rounded once
  std::int32_t total[part_rows];       // sum of the group's values
  std::int32_t first_half[part_rows];  // sum of its first 16
};

/// One group of 32 columns of up to 16 quantized rows; a tile is group_count of them. Everything a
/// panel kernel reads for a group lies within constant distances of one pointer.
struct activation_group {
  activation_part part[tile_rows / part_rows];  // row r is row r % 8 of part r / 8
};

/// Where columns of one quantized row go.
struct row_target {
  activation_group* groups;  // of the row's tile: the one of the first column, and on
  std::size_t row_in_tile;   // 0 .. tile_rows - 1
};

/// Outputs common to both kinds of tile: rows x (up to panel_count * 16) of a row-major matrix.
struct output_block {
  float* first;              // row 0, output 0 of the first panel
  std::size_t stride;        // elements between rows
  const float* bias;         // of output 0 of the first panel, or nullptr
  std::size_t output_count;  // outputs to write; the last panel may be partial
};

struct quantized_tile {
  packing format;
  bool wide_scales;  // float scales, else f16
  int offset_shift;  // offset == 1 << offset_shift; read by *_offset and bytes_halves
  const std::uint8_t* panels;
  std::size_t panel_bytes;  // between panels; a multiple of 64
  std::size_t panel_count;
  const std::uint8_t*
      next_panel;  // what this thread will probably read after these; only prefetched
  std::size_t group_count;
  const activation_group* activations;
  std::size_t row_count;  // 1 .. tile_rows
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
  void (*quantize)(const float* x, std::size_t column_count, const row_target& target);
  void (*quantized)(const quantized_tile& tile);
  void (*floats)(const float_tile& tile);
};

extern const matmul_kernels matmul_reference;
extern const matmul_kernels matmul_avx2;
extern const matmul_kernels matmul_avx512;

}  // namespace troupe::kernels
