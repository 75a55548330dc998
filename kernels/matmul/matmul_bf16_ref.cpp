// The specification in plain loops of matmul in bf16, which AMX has tile instructions for: see
// matmul.hpp for the numerics.
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/base/half.hpp"
#include "kernels/matmul/bf16_layout.hpp"
#include "kernels/matmul/packed_weights_ref.hpp"

namespace troupe::kernels {

namespace {

bool is_denormal(float x) {
  return x != 0.0f && std::fabs(x) < std::numeric_limits<float>::min();
}

/// As tile instructions take and leave numbers: denormal ones are zero, and keep their sign.
float flushed(float x) {
  return is_denormal(x) ? std::copysign(0.0f, x) : x;
}

void round_row(const float* x, std::size_t column_count, const row_target& target) {
  const std::size_t group_count = (column_count + 31) / 32;
  for (std::size_t k = 0; k < group_count * 32; ++k) {
    const float value = k < column_count ? x[k] * bf16_activation_factor : 0.0f;
    target.bf16_groups[k / 32].values[target.row_in_tile][bf16_place(k % 32)] =
        float_to_bfloat(flushed(value));
  }
}

// Rounded to an f16 once: these doubles are exact.
double to_half_precision(double x) {
  return static_cast<double>(static_cast<_Float16>(x));
}

// The bf16 that is multiplied, as a float: of v's f16 the upper 8 bits of the significand.
float multiplied_weight(double v) {
  const auto bits = std::bit_cast<std::uint16_t>(static_cast<_Float16>(v));
  return flushed(
      bfloat_to_float(static_cast<std::uint16_t>((bits & 0x8000) | (bits & 0x7FFF) >> 3)));
}

float quantized_output(const quantized_tile& tile, const std::uint8_t* panel, std::size_t lane,
                       std::size_t row) {
  const quantized_packing& parts = parts_of(tile);
  const double upscale = 1 << tile.scale_shift;
  const double offset = parts.has_minimum ? 0 : 1 << tile.offset_shift;
  const bf16_group* const x = tile.bf16_activations + row / tile_rows * tile.group_count;
  float sum = 0.0f;
  for (std::size_t g = 0; g < tile.group_count; ++g) {
    const packed_scales scales = scales_at(tile, panel, g, lane);
    float sums[2] = {0.0f, 0.0f};  // of the first and of the second columns of pairs
    for (std::size_t place = 0; place < 32; ++place) {
      const std::size_t k = bf16_place(place);
      const double factor = k < 16 ? scales.first_factor : scales.second_factor;
      const double d = to_half_precision(scales.d * upscale * factor);
      const double m = parts.has_minimum
                           ? to_half_precision(scales.minimum * upscale * scales.minimum_factor)
                           : -offset * d;
      const float w = multiplied_weight(weight_at(tile, panel, g, k, lane) * d + m);
      const float value = flushed(bfloat_to_float(x[g].values[row % tile_rows][place]));
      sums[place % 2] = flushed(std::fma(value, w, sums[place % 2]));
    }
    sum = flushed(sum + flushed(sums[0] + sums[1]));
  }
  return sum * tile.output_factor;
}

void quantized(const quantized_tile& tile) {
  for_each_output(
      tile.output, tile.row_count, [&tile](std::size_t row, std::size_t panel, std::size_t lane) {
        return quantized_output(tile, tile.panels + panel * tile.panel_bytes, lane, row);
      });
}

void floats(const float_tile& tile) {
  matmul_reference.floats(tile);
}

}  // namespace

const matmul_kernels matmul_bf16_reference{
    .rows_max = tile_rows,
    .outputs_together = panel_outputs,
    .rows_alone_min = 1,
    .unpack_cycles = 0,
    .row_instructions = 16 * 32,
    .quantize = quantize_row_by_row<round_row>,
    .quantized = quantized,
    .floats = floats,
};

}  // namespace troupe::kernels
