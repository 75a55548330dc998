// matmul for AVX2 with FMA and F16C. A panel's 16 outputs are two halves of 8
// lanes; a group's weights are unpacked once into 8 registers for up to 4 rows. Everything has
// internal linkage (see packed_layout.hpp).
#include <immintrin.h>

#include "kernels/matmul/packed_layout.hpp"
#include "kernels/matmul/read_ahead.hpp"

namespace troupe::kernels {

namespace {

#define TROUPE_INLINE inline __attribute__((always_inline))

constexpr std::size_t half_outputs = 8;

TROUPE_INLINE __m256i load_256(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

TROUPE_INLINE __m256i broadcast_quad(const std::int8_t* values) {
  std::int32_t quad;
  __builtin_memcpy(&quad, values, sizeof quad);
  return _mm256_set1_epi32(quad);
}

// maddubs multiplies unsigned weights with signed activations and adds pairs in 16 bits, saturating
// at 32767. With |x| <= 127 a pair is at most 2 * 127 * q_max, so that many quads fit in one 16-bit
// sum:
//   4 bits: 8 * 2 * 127 * 15 = 30480    5 bits: 4 * 2 * 127 * 31 = 31496    6 bits: 2 * 2 * 127 *
//   63 = 32004
// 8 bits fit only as magnitudes with the sign moved to the activation: 1 * 2 * 127 * 128 = 32512.
enum class width { four, five, six, eight };
constexpr int quads_per_sum(width bits) {
  return bits == width::four ? 8 : bits == width::five ? 4 : bits == width::six ? 2 : 1;
}

template <packing Format>
constexpr quantized_packing parts_of = quantized_packings[static_cast<std::size_t>(Format)];

// 8 of 16 f16.
TROUPE_INLINE __m256 load_halves(const std::uint8_t* p, std::size_t half) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + half * 16)));
}

// Of a step of the weights: of z's with zero points, else of q's.
template <packing Format>
TROUPE_INLINE __m256 block_scale(const std::uint8_t* block, std::size_t half) {
  const __m256 d = load_halves(block, half);
  if constexpr (!parts_of<Format>.has_zero_point) return d;
  return _mm256_mul_ps(d, _mm256_set1_ps(1.0f / (1 << zero_point_shift)));
}

// 8 bytes: factor `index` of the block, of half 0 or 1 of the panel's outputs.
template <packing Format>
TROUPE_INLINE __m128i load_factors(const std::uint8_t* block, std::size_t index, std::size_t half) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(block + parts_of<Format>.factors_offset +
                                                          16 * index + 8 * half));
}

// -(8 * (z - 128) + f) in the lower half of each lane, of group `inner` of a block.
template <packing Format>
TROUPE_INLINE __m256i minus_zero_points(const std::uint8_t* block, std::size_t inner,
                                        std::size_t half) {
  const __m256i z = _mm256_cvtepu8_epi32(load_factors<Format>(block, 2 * inner + 1, half));
  const __m128i both = _mm_loadl_epi64(
      reinterpret_cast<const __m128i*>(block + parts_of<Format>.fractions_offset + 8 * inner));
  const __m256i f =
      _mm256_and_si256(_mm256_cvtepu8_epi32(half == 0 ? both : _mm_srli_epi16(both, 4)),
                       _mm256_set1_epi32(fraction_count - 1));
  const __m256i minus =
      _mm256_sub_epi16(_mm256_set1_epi32(1 << (zero_point_offset_shift + fraction_shift)),
                       _mm256_or_si256(_mm256_slli_epi32(z, fraction_shift), f));
  return _mm256_or_si256(minus, _mm256_set1_epi32(rounded_upper_half));
}

// d, or d times factor `index` of the block; exact. Of half 0 or 1 of the panel's outputs.
template <packing Format>
TROUPE_INLINE __m256 scaled(__m256 d, const std::uint8_t* block, std::size_t index,
                            std::size_t half) {
  if constexpr (parts_of<Format>.block_groups == 1) return d;
  const __m256i wide = _mm256_cvtepi8_epi32(load_factors<Format>(block, index, half));
  return _mm256_mul_ps(d, _mm256_cvtepi32_ps(wide));
}

// One quad's weights of both halves of the panel. Nibbles are walked in the order quad 0, 4, 1, 5,
// ..., so that each load serves two steps; integer sums do not mind the order.
template <packing Format, int Step>
TROUPE_INLINE void load_quad(const std::uint8_t* q, __m256i (&w)[2]) {
  for (int half = 0; half < 2; ++half) {
    if constexpr (parts_of<Format>.form == weight_form::nibbles) {
      const __m256i both = load_256(q + 64 * (Step / 2) + 32 * half);
      w[half] = _mm256_and_si256(Step % 2 == 0 ? both : _mm256_srli_epi16(both, 4),
                                 _mm256_set1_epi8(0x0F));
    } else {
      w[half] = load_256(q + 64 * Step + 32 * half);
    }
  }
}

// sum += quads of steps Step .. End - 1: in 16 bits where several fit, else in 32. Steps are
// unrolled by recursion because the compiler keeps the sums in registers only then.
template <packing Format, width Width, int Step, int End, int Rows>
TROUPE_INLINE void add_quads(const std::uint8_t* q, const std::int8_t (*rows)[32],
                             __m256i (&sum)[Rows][2]) {
  constexpr int quad_index =
      parts_of<Format>.form == weight_form::nibbles ? Step / 2 + Step % 2 * 4 : Step;
  __m256i w[2], with_sign[2];
  load_quad<Format, Step>(q, w);
  if constexpr (Width == width::eight) {
    for (int half = 0; half < 2; ++half) {
      with_sign[half] = _mm256_xor_si256(w[half], _mm256_set1_epi8(static_cast<char>(0x80)));
      w[half] = _mm256_abs_epi8(with_sign[half]);
    }
  }
  for (int r = 0; r < Rows; ++r) {
    const __m256i quad = broadcast_quad(rows[r] + 4 * quad_index);
    for (int half = 0; half < 2; ++half) {
      const __m256i factor = Width == width::eight ? _mm256_sign_epi8(quad, with_sign[half]) : quad;
      const __m256i pairs = _mm256_maddubs_epi16(w[half], factor);
      if constexpr (quads_per_sum(Width) == 1) {
        const __m256i wide = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
        sum[r][half] = _mm256_add_epi32(sum[r][half], wide);
      } else {
        sum[r][half] = _mm256_add_epi16(sum[r][half], pairs);
      }
      // GCC would turn the chains of adds into trees and spill every product, at 2/3 of the speed.
      __asm__("" : "+x"(sum[r][half]));
    }
  }
  if constexpr (Step + 1 < End) add_quads<Format, Width, Step + 1, End>(q, rows, sum);
}

// dot += the exact int32 dot products of quads Begin .. End - 1 with Rows rows, for both halves.
// The weights stream through; what stays in registers is the sums.
template <packing Format, width Width, int Begin, int End, int Rows>
TROUPE_INLINE void dot_group(const std::uint8_t* q, const std::int8_t (*rows)[32],
                             __m256i (&dot)[Rows][2]) {
  if constexpr (quads_per_sum(Width) == 1) {
    add_quads<Format, Width, Begin, End>(q, rows, dot);
  } else {
    constexpr int sum_end = Begin + quads_per_sum(Width);
    static_assert(sum_end <= End);
    __m256i sum[Rows][2];
    for (int r = 0; r < Rows; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
    add_quads<Format, Width, Begin, sum_end>(q, rows, sum);
    for (int r = 0; r < Rows; ++r) {
      for (int half = 0; half < 2; ++half) {
        const __m256i wide = _mm256_madd_epi16(sum[r][half], _mm256_set1_epi16(1));
        dot[r][half] = _mm256_add_epi32(dot[r][half], wide);
      }
    }
    if constexpr (sum_end < End) dot_group<Format, Width, sum_end, End>(q, rows, dot);
  }
}

// What one group's dot products still need.
struct group_rest {
  __m256 scale[2];
  __m128i offset_shift;  // where there are no zero points
  __m256i minus_zero_points[2];
};

// acc = fma(float(dot - offset * sum), d * a, acc) over quads Begin .. End - 1 of one group.
template <packing Format, width Width, int Begin, int End, int Rows>
TROUPE_INLINE void multiply_group(const std::uint8_t* q, const activation_group& x,
                                  std::size_t first_row, const group_rest& rest,
                                  __m256 (&acc)[2][Rows]) {
  __m256i dot[Rows][2];
  for (int b = 0; b < Rows; ++b) dot[b][0] = dot[b][1] = _mm256_setzero_si256();
  // Blocks of rows begin at multiples of 4, so that each lies within one part.
  const activation_part& rows = x.part[first_row / part_rows];
  const std::size_t first = first_row % part_rows;
  dot_group<Format, Width, Begin, End>(q, x.values + first_row, dot);
  for (int b = 0; b < Rows; ++b) {
    const std::size_t r = first + static_cast<std::size_t>(b);
    // Signed 8-bit weights have no offset left to take off.
    if constexpr (parts_of<Format>.has_zero_point) {
      const auto lower = static_cast<std::uint16_t>(rows.minus_sum[r]);
      const __m256i sum = _mm256_set1_epi32(lower | 1 << 16);
      for (int half = 0; half < 2; ++half) {
        const __m256i eighths =
            _mm256_add_epi32(_mm256_slli_epi32(dot[b][half], zero_point_shift + fraction_shift),
                             _mm256_madd_epi16(rest.minus_zero_points[half], sum));
        dot[b][half] = _mm256_srai_epi32(eighths, fraction_shift);
      }
    } else if constexpr (!parts_of<Format>.has_minimum && Width != width::eight) {
      const int sum = Begin == 4 ? rows.minus_sum[r] - rows.minus_first_sum[r]
                      : End == 4 ? rows.minus_first_sum[r]
                                 : rows.minus_sum[r];
      const __m256i offset = _mm256_sll_epi32(_mm256_set1_epi32(sum), rest.offset_shift);
      for (auto& half : dot[b]) half = _mm256_add_epi32(half, offset);
    }
    const __m256 a = _mm256_set1_ps(rows.scale[r]);
    for (int half = 0; half < 2; ++half) {
      acc[half][b] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[b][half]),
                                     _mm256_mul_ps(rest.scale[half], a), acc[half][b]);
    }
  }
}

template <packing Format, int Rows>
TROUPE_INLINE void accumulate_minima(const quantized_tile& tile, const std::uint8_t* scales,
                                     std::size_t first_row, std::size_t half, __m256 (&acc)[Rows]) {
  constexpr quantized_packing parts = parts_of<Format>;
  const activation_group* x = tile.activations;
  for (int b = 0; b < Rows; ++b) acc[b] = _mm256_setzero_ps();
  for (std::size_t g = 0; g < tile.group_count; g += parts.block_groups) {
    const __m256 d = load_halves(scales + minima_offset, half);
    for (std::size_t i = 0; i < parts.block_groups; ++i, ++x) {
      const __m256 minima = scaled<Format>(d, scales, 2 * i + 1, half);
      for (int b = 0; b < Rows; ++b) {
        const std::size_t row = first_row + static_cast<std::size_t>(b);
        const float sum = x->part[row / part_rows].scaled_sum[row % part_rows];
        acc[b] = _mm256_fmadd_ps(minima, _mm256_set1_ps(sum), acc[b]);
      }
    }
    scales += parts.block_scale_bytes;
  }
}

// Writes Rows rows of 8 outputs from output `first_output` of the block.
template <int Rows>
TROUPE_INLINE void store_outputs(const output_block& out, std::size_t first_row,
                                 std::size_t first_output, const __m256 (&y)[Rows]) {
  if (first_output >= out.output_count) return;
  const std::size_t left = out.output_count - first_output;
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i mask = _mm256_cmpgt_epi32(
      _mm256_set1_epi32(left < half_outputs ? static_cast<int>(left) : 8), lanes);
  const __m256 bias =
      out.bias != nullptr ? _mm256_maskload_ps(out.bias + first_output, mask) : _mm256_setzero_ps();
  float* row = out.first + first_row * out.stride + first_output;
  for (int b = 0; b < Rows; ++b) {
    // Without a bias nothing is added: -0 + 0 would not be -0.
    __m256 value = out.bias != nullptr ? _mm256_add_ps(y[b], bias) : y[b];
    if (out.adds) value = _mm256_add_ps(_mm256_maskload_ps(row, mask), value);
    if (left >= half_outputs) {
      _mm256_storeu_ps(row, value);
    } else {
      _mm256_maskstore_ps(row, mask, value);
    }
    row += out.stride;
  }
}

// One group with its scales.
template <packing Format, width Width, int Rows>
TROUPE_INLINE void multiply_scaled(const std::uint8_t* q, const activation_group& x,
                                   std::size_t first_row, const __m256 (&d)[2],
                                   const std::uint8_t* block, std::size_t inner,
                                   __m128i offset_shift, __m256 (&acc)[2][Rows]) {
  group_rest rest{};
  rest.offset_shift = offset_shift;
  for (std::size_t half = 0; half < 2; ++half) {
    rest.scale[half] = scaled<Format>(d[half], block, 2 * inner, half);
    if constexpr (parts_of<Format>.has_zero_point)
      rest.minus_zero_points[half] = minus_zero_points<Format>(block, inner, half);
  }
  if constexpr (parts_of<Format>.has_halves) {
    multiply_group<Format, Width, 0, 4>(q, x, first_row, rest, acc);
    for (std::size_t half = 0; half < 2; ++half)
      rest.scale[half] = scaled<Format>(d[half], block, 2 * inner + 1, half);
    multiply_group<Format, Width, 4, 8>(q, x, first_row, rest, acc);
  } else {
    multiply_group<Format, Width, 0, 8>(q, x, first_row, rest, acc);
  }
}

template <packing Format, width Width, int Rows>
void multiply_panel(const quantized_tile& tile, std::size_t index, std::size_t first_row) {
  constexpr quantized_packing parts = parts_of<Format>;
  const std::uint8_t* q = tile.panels + index * tile.panel_bytes;
  const std::uint8_t* const scales = q + tile.group_count * parts.group_bytes;
  const __m128i shift = _mm_cvtsi32_si128(tile.offset_shift);
  const std::uint8_t* next = index + 1 < tile.panel_count ? q + tile.panel_bytes : tile.next_panel;
  __m256 y[2][Rows];
  for (int b = 0; b < Rows; ++b) y[0][b] = y[1][b] = _mm256_setzero_ps();
  read_ahead::piece ahead;
  if constexpr (Rows == 4) {  // fewer wait for memory, or follow four
    if (first_row == 0 && tile.ahead != nullptr) ahead = tile.ahead->claim(tile.group_count);
  }
  const activation_group* x = tile.activations;
  const std::uint8_t* block = scales;
  for (std::size_t g = 0; g < tile.group_count; g += parts.block_groups) {
    const __m256 d[2] = {block_scale<Format>(block, 0), block_scale<Format>(block, 1)};
    for (std::size_t i = 0; i < parts.block_groups; ++i, ++x, q += parts.group_bytes) {
      if (first_row == 0) {  // the next panel comes in while the first rows use this one
#pragma GCC unroll 16
        for (std::size_t line = 0; line < parts.group_lines; ++line, next += 64) {
          _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T0);
        }
      }
      ahead.ask();
      multiply_scaled<Format, Width>(q, *x, first_row, d, block, i, shift, y);
    }
    block += parts.block_scale_bytes;
  }
  for (std::size_t half = 0; half < 2; ++half) {
    if constexpr (parts.has_minimum) {
      __m256 minima[Rows];
      accumulate_minima<Format>(tile, scales, first_row, half, minima);
      for (int b = 0; b < Rows; ++b) y[half][b] = _mm256_add_ps(y[half][b], minima[b]);
    }
    store_outputs(tile.output, first_row, index * panel_outputs + half * half_outputs, y[half]);
  }
}

template <packing Format, width Width>
void multiply_tile(const quantized_tile& tile) {
  for (std::size_t index = 0; index < tile.panel_count; ++index) {
    std::size_t row = 0;
    for (; row + 4 <= tile.row_count; row += 4) multiply_panel<Format, Width, 4>(tile, index, row);
    switch (tile.row_count - row) {
      case 3: multiply_panel<Format, Width, 3>(tile, index, row); break;
      case 2: multiply_panel<Format, Width, 2>(tile, index, row); break;
      case 1: multiply_panel<Format, Width, 1>(tile, index, row); break;
      default: break;
    }
  }
}

void quantized(const quantized_tile& tile) {
  using enum packing;
  switch (tile.format) {
    case nibbles_zero_point: return multiply_tile<nibbles_zero_point, width::four>(tile);
    case nibbles_zero_point_blocks:
      return multiply_tile<nibbles_zero_point_blocks, width::four>(tile);
    case nibbles_minimum: return multiply_tile<nibbles_minimum, width::four>(tile);
    case nibbles_offset: return multiply_tile<nibbles_offset, width::four>(tile);
    case bytes_minimum: return multiply_tile<bytes_minimum, width::five>(tile);
    case bytes_offset:
      return tile.offset_shift == 7 ? multiply_tile<bytes_offset, width::eight>(tile)
                                    : multiply_tile<bytes_offset, width::five>(tile);
    case nibbles_minimum_blocks: return multiply_tile<nibbles_minimum_blocks, width::four>(tile);
    case bytes_minimum_blocks: return multiply_tile<bytes_minimum_blocks, width::five>(tile);
    case bytes_halves_blocks: return multiply_tile<bytes_halves_blocks, width::six>(tile);
    default: return;
  }
}

constexpr std::size_t element_bytes(packing format) {
  return format == packing::f32 ? 4 : format == packing::f8 ? 1 : 2;
}

template <packing Format>
TROUPE_INLINE __m256 load_elements(const std::uint8_t* p) {
  if constexpr (Format == packing::f32) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
  } else if constexpr (Format == packing::f16) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  } else if constexpr (Format == packing::bf16) {
    const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
  } else {
    // E4M3's fields, put into an f16, give the value times 2^-8 (the biases are 7 and 15).
    const __m128i bytes = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    const __m128i magnitude = _mm_and_si128(bytes, _mm_set1_epi16(0x7F));
    const __m128i sign = _mm_slli_epi16(_mm_andnot_si128(_mm_set1_epi16(0x7F), bytes), 8);
    const __m128i half = _mm_or_si128(_mm_slli_epi16(magnitude, 7), sign);
    const __m256 value = _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256.0f));
    const __m256i nan = _mm256_cvtepi16_epi32(_mm_cmpeq_epi16(magnitude, _mm_set1_epi16(0x7F)));
    return _mm256_blendv_ps(value, _mm256_set1_ps(__builtin_nanf("")), _mm256_castsi256_ps(nan));
  }
}

// Rows x 16 outputs.
template <packing Format, int Rows>
void multiply_floats(const float_tile& tile, std::size_t first_row, std::size_t index) {
  const std::uint8_t* elements = tile.panels + index * tile.panel_bytes;
  const float* x = tile.rows + first_row * tile.row_stride;
  __m256 low[Rows], high[Rows];
  for (int r = 0; r < Rows; ++r) low[r] = high[r] = _mm256_setzero_ps();
  for (std::size_t k = 0; k < tile.column_count; ++k, ++x) {
    const __m256 w_low = load_elements<Format>(elements);
    const __m256 w_high = load_elements<Format>(elements + half_outputs * element_bytes(Format));
    elements += panel_outputs * element_bytes(Format);
    for (int r = 0; r < Rows; ++r) {
      const __m256 value = _mm256_broadcast_ss(x + static_cast<std::size_t>(r) * tile.row_stride);
      low[r] = _mm256_fmadd_ps(w_low, value, low[r]);
      high[r] = _mm256_fmadd_ps(w_high, value, high[r]);
    }
  }
  store_outputs(tile.output, first_row, index * panel_outputs, low);
  store_outputs(tile.output, first_row, index * panel_outputs + half_outputs, high);
}

template <packing Format>
void multiply_float_tile(const float_tile& tile) {
  for (std::size_t index = 0; index < tile.panel_count; ++index) {
    std::size_t row = 0;
    for (; row + 6 <= tile.row_count; row += 6) multiply_floats<Format, 6>(tile, row, index);
    for (; row + 2 <= tile.row_count; row += 2) multiply_floats<Format, 2>(tile, row, index);
    if (row < tile.row_count) multiply_floats<Format, 1>(tile, row, index);
  }
}

void floats(const float_tile& tile) {
  switch (tile.format) {
    case packing::f32: return multiply_float_tile<packing::f32>(tile);
    case packing::f16: return multiply_float_tile<packing::f16>(tile);
    case packing::bf16: return multiply_float_tile<packing::bf16>(tile);
    case packing::f8: return multiply_float_tile<packing::f8>(tile);
    default: return;
  }
}

}  // namespace

const matmul_kernels matmul_avx2{
    .rows_max = tile_rows,
    .outputs_together = panel_outputs,
    .rows_alone_min = 1,
    .unpack_cycles = 12,
    .row_instructions = 2 * 18,
    .quantize = quantize_avx2,
    .quantized = quantized,
    .floats = floats,
};

}  // namespace troupe::kernels
