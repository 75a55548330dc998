// The specification of matmul and quantize_row in plain loops: see matmul.hpp for the numerics.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/base/half.hpp"
#include "kernels/dequantize/float8.hpp"
#include "kernels/matmul/packed_weights_ref.hpp"

namespace troupe::kernels {

namespace {

void quantize_row(const float* x, std::size_t column_count, const row_target& target) {
  const std::size_t group_count = (column_count + 31) / 32;
  for (std::size_t g = 0; g < group_count; ++g) {
    const std::size_t count = column_count - g * 32 < 32 ? column_count - g * 32 : 32;
    // Magnitudes compare as integers, so that a NaN is the largest of all and shows in the scale.
    std::uint32_t max_bits = 0;
    for (std::size_t k = 0; k < count; ++k) {
      const std::uint32_t bits = std::bit_cast<std::uint32_t>(x[g * 32 + k]) & 0x7FFFFFFFu;
      max_bits = bits > max_bits ? bits : max_bits;
    }
    const float max = std::bit_cast<float>(max_bits);
    const float scale = max / 127.0f;
    // Zero, too small for a finite inverse, infinite or NaN: all values are zero.
    const float inverse = 127.0f / max;
    const bool usable = inverse > 0.0f && inverse <= std::numeric_limits<float>::max();
    std::int8_t q[32] = {};
    if (usable) {
      for (std::size_t k = 0; k < count; ++k) {
        q[k] = static_cast<std::int8_t>(std::nearbyint(x[g * 32 + k] * inverse));
      }
    }
    std::int32_t first = 0, sum = 0;
    for (std::size_t k = 0; k < 32; ++k) {
      sum += q[k];
      if (k < 16) first += q[k];
    }

    activation_part& part = target.groups[g].part[target.row_in_tile / part_rows];
    const std::size_t r = target.row_in_tile % part_rows;
    std::memcpy(target.groups[g].values[target.row_in_tile], q, sizeof q);
    part.scale[r] = scale;
    part.scaled_sum[r] = scale * static_cast<float>(sum);
    part.minus_sum[r] = -sum;
    part.minus_first_sum[r] = -first;
  }
}

struct group_scales {
  float first, second, minimum;  // second: of the second 16 elements
};

// The products are exact.
group_scales group_scales_at(const quantized_tile& tile, const std::uint8_t* panel,
                             std::size_t group, std::size_t lane) {
  const packed_scales scales = scales_at(tile, panel, group, lane);
  return {scales.d * scales.first_factor, scales.d * scales.second_factor,
          scales.minimum * scales.minimum_factor};
}

float quantized_output(const quantized_tile& tile, const std::uint8_t* panel, std::size_t lane,
                       std::size_t row) {
  const quantized_packing& parts = parts_of(tile);
  const int offset = parts.has_minimum ? 0 : 1 << tile.offset_shift;
  const auto dot = [&](std::size_t group, const std::int8_t* x, std::size_t begin,
                       std::size_t end) {
    std::int32_t sum = 0;
    for (std::size_t k = begin; k < end; ++k) {
      sum += (weight_at(tile, panel, group, k, lane) - offset) * x[k];
    }
    return static_cast<float>(sum);
  };
  // Eighths of the weights' steps; the fraction that is left is rounded, halves up.
  const auto dot_from_zero_point = [&](std::size_t group, const std::int8_t* x) {
    std::int32_t sum = 0, values = 0;
    for (std::size_t k = 0; k < 32; ++k) {
      sum += weight_at(tile, panel, group, k, lane) * x[k];
      values += x[k];
    }
    const int zero_point = zero_point_at(tile, panel, group, lane);
    return static_cast<float>(
        sum * (1 << zero_point_shift) +
        ((zero_point * values + (1 << (fraction_shift - 1))) >> fraction_shift));
  };
  float acc = 0.0f, acc_min = 0.0f;
  for (std::size_t g = 0; g < tile.group_count; ++g) {
    const std::int8_t* const values = tile.activations[g].values[row];
    const activation_part& x = tile.activations[g].part[row / part_rows];
    const std::size_t r = row % part_rows;
    const group_scales scales = group_scales_at(tile, panel, g, lane);
    const float first = parts.has_zero_point ? dot_from_zero_point(g, values)
                                             : dot(g, values, 0, parts.has_halves ? 16 : 32);
    acc = std::fma(first, scales.first * x.scale[r], acc);
    if (parts.has_halves) {
      acc = std::fma(dot(g, values, 16, 32), scales.second * x.scale[r], acc);
    }
    if (parts.has_minimum) acc_min = std::fma(scales.minimum, x.scaled_sum[r], acc_min);
  }
  return parts.has_minimum ? acc + acc_min : acc;
}

void quantized(const quantized_tile& tile) {
  for_each_output(
      tile.output, tile.row_count, [&tile](std::size_t row, std::size_t panel, std::size_t lane) {
        return quantized_output(tile, tile.panels + panel * tile.panel_bytes, lane, row);
      });
}

float element_at(packing format, const std::uint8_t* panel, std::size_t index) {
  if (format == packing::f32) {
    float value;
    std::memcpy(&value, panel + index * sizeof value, sizeof value);
    return value;
  }
  if (format == packing::f8) return f8_e4m3_to_float(panel[index]);
  std::uint16_t word;
  std::memcpy(&word, panel + index * sizeof word, sizeof word);
  return format == packing::f16 ? half_to_float(word) : bfloat_to_float(word);
}

void floats(const float_tile& tile) {
  for_each_output(
      tile.output, tile.row_count, [&tile](std::size_t row, std::size_t panel, std::size_t lane) {
        const std::uint8_t* elements = tile.panels + panel * tile.panel_bytes;
        const float* x = tile.rows + row * tile.row_stride;
        float acc = 0.0f;
        for (std::size_t k = 0; k < tile.column_count; ++k) {
          acc = std::fma(element_at(tile.format, elements, k * panel_outputs + lane), x[k], acc);
        }
        return acc;
      });
}

}  // namespace

const matmul_kernels matmul_reference{
    .rows_max = tile_rows,
    .outputs_together = panel_outputs,
    .rows_alone_min = 1,
    .unpack_cycles = 0,
    .row_instructions = 16 * 32,
    .quantize = quantize_row_by_row<quantize_row>,
    .quantized = quantized,
    .floats = floats,
};

}  // namespace troupe::kernels
