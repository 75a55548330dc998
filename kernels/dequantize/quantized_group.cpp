#include "kernels/dequantize/quantized_group.hpp"

#include "kernels/base/check.hpp"
#include "kernels/base/half.hpp"

namespace troupe::kernels {

namespace {

using bytes = const std::uint8_t*;

float half_at(bytes p) noexcept {
  return half_to_float(static_cast<std::uint16_t>(p[0] | (p[1] << 8)));
}

// 16 bytes: low nibbles are elements 0 to 15, high nibbles 16 to 31.
void read_nibbles(bytes qs, quantized_group& out) noexcept {
  for (std::size_t k = 0; k < 16; ++k) {
    out.q[k] = qs[k] & 0x0F;
    out.q[k + 16] = static_cast<std::uint8_t>(qs[k] >> 4);
  }
}

// The fifth bits of Q5_0 and Q5_1: bit k of a little-endian 32-bit word.
void add_fifth_bits(bytes qh, quantized_group& out) noexcept {
  for (std::size_t k = 0; k < 32; ++k) {
    out.q[k] = static_cast<std::uint8_t>(out.q[k] | (((qh[k / 8] >> (k % 8)) & 1) << 4));
  }
}

// Q4_K and Q5_K: eight 6-bit scales and minima in 12 bytes.
void read_k_scales(bytes block, std::size_t group, quantized_group& out) noexcept {
  const bytes s = block + 4;
  int scale, minimum;
  if (group < 4) {
    scale = s[group] & 0x3F;
    minimum = s[group + 4] & 0x3F;
  } else {
    scale = (s[group + 4] & 0x0F) | ((s[group - 4] >> 2) & 0x30);
    minimum = (s[group + 4] >> 4) | ((s[group] >> 2) & 0x30);
  }
  out.d = half_at(block);
  out.d_minimum = -half_at(block + 2);
  out.scale_factors.fill(static_cast<std::int8_t>(scale));
  out.minimum_factor = static_cast<std::int8_t>(minimum);
}

// Q4_K and Q5_K: 32 bytes hold an even group in their low and the next one in their high nibbles.
void read_k_nibbles(bytes qs, std::size_t group, quantized_group& out) noexcept {
  const bytes chunk = qs + group / 2 * 32;
  const int shift = group % 2 == 0 ? 0 : 4;
  for (std::size_t k = 0; k < 32; ++k) {
    out.q[k] = static_cast<std::uint8_t>((chunk[k] >> shift) & 0x0F);
  }
}

void read_q6_k(bytes block, std::size_t group, quantized_group& out) noexcept {
  const std::size_t half = group / 4, quarter = group % 4;
  const bytes low = block + half * 64 + quarter % 2 * 32;
  const bytes high = block + 128 + half * 32;
  const int low_shift = quarter < 2 ? 0 : 4;
  const int high_shift = static_cast<int>(2 * quarter);
  for (std::size_t k = 0; k < 32; ++k) {
    out.q[k] = static_cast<std::uint8_t>(((low[k] >> low_shift) & 0x0F) |
                                         (((high[k] >> high_shift) & 0x03) << 4));
  }
  out.d = half_at(block + 208);
  for (std::size_t i = 0; i < 2; ++i) {
    out.scale_factors[i] = static_cast<std::int8_t>(block[192 + 2 * group + i]);
  }
}

}  // namespace

bool is_quantized(dtype type) noexcept {
  const auto layout = layout_of(type);
  return layout.has_value() && layout->block_elements > 1;
}

bool has_minimum(dtype type) noexcept {
  return type == dtype::q4_1 || type == dtype::q5_1 || type == dtype::q4_k || type == dtype::q5_k;
}

int quantized_offset(dtype type) noexcept {
  switch (type) {
    case dtype::q4_0: return 8;
    case dtype::q5_0: return 16;
    case dtype::q6_k: return 32;
    case dtype::q8_0: return 128;
    default: return 0;
  }
}

void read_group(dtype type, const std::byte* row, std::size_t group,
                quantized_group& out) noexcept {
  const auto layout = layout_of(type);
  TROUPE_CHECK(layout.has_value() && layout->block_elements > 1);
  const std::size_t block_groups = layout->block_elements / quantized_group_size;
  read_group_of_block(type, row + group / block_groups * layout->block_bytes, group % block_groups,
                      out);
}

void read_group_of_block(dtype type, const std::byte* start, std::size_t inner,
                         quantized_group& out) noexcept {
  const bytes block = reinterpret_cast<bytes>(start);
  out.d_minimum = 0.0f;
  out.scale_factors.fill(1);
  out.minimum_factor = 1;
  switch (type) {
    case dtype::q4_0:
      out.d = half_at(block);
      read_nibbles(block + 2, out);
      return;
    case dtype::q4_1:
      out.d = half_at(block);
      out.d_minimum = half_at(block + 2);
      read_nibbles(block + 4, out);
      return;
    case dtype::q5_0:
      out.d = half_at(block);
      read_nibbles(block + 6, out);
      add_fifth_bits(block + 2, out);
      return;
    case dtype::q5_1:
      out.d = half_at(block);
      out.d_minimum = half_at(block + 2);
      read_nibbles(block + 8, out);
      add_fifth_bits(block + 4, out);
      return;
    case dtype::q8_0:
      out.d = half_at(block);
      for (std::size_t k = 0; k < 32; ++k) {
        out.q[k] = static_cast<std::uint8_t>(block[2 + k] ^ 0x80);  // signed to offset 128
      }
      return;
    case dtype::q4_k:
      read_k_scales(block, inner, out);
      read_k_nibbles(block + 16, inner, out);
      return;
    case dtype::q5_k:
      read_k_scales(block, inner, out);
      read_k_nibbles(block + 48, inner, out);
      for (std::size_t k = 0; k < 32; ++k) {
        out.q[k] = static_cast<std::uint8_t>(out.q[k] | (((block[16 + k] >> inner) & 1) << 4));
      }
      return;
    case dtype::q6_k: read_q6_k(block, inner, out); return;
    default: TROUPE_CHECK(false);
  }
}

}  // namespace troupe::kernels
