// matmul for AVX-512 with VNNI. Quantized tiles: 16 outputs are the 32-bit lanes of a register; a
// group's weights are unpacked into 8 registers once and serve up to 16 rows, whose activations
// come as 32-bit broadcasts. Everything has internal linkage (see packed_layout.hpp).
#include "kernels/matmul/panels_avx512.hpp"
#include "kernels/matmul/read_ahead.hpp"

namespace troupe::kernels {

namespace {

// sum + dot products of bytes: w's of each lane without signs, the four values with.
TROUPE_INLINE __m512i add_quads(__m512i sum, __m512i w, const std::int8_t* values) {
  // GCC 12 does not make the broadcast a part of this instruction, and so many instructions more
  // cost some 7 %.
  struct __attribute__((may_alias)) quad {
    std::int8_t values[4];
  };
  asm("vpdpbusd %2%{1to16%}, %1, %0"
      : "+v"(sum)
      : "v"(w), "m"(*reinterpret_cast<const quad*>(values)));
  return sum;
}

// Minima as a pass of their own where Rows leaves no registers for a second set of accumulators.
template <packing Format>
constexpr int inline_minimum_rows_max = parts_of<Format>.has_minimum ? 8 : 0;

template <int Rows>
TROUPE_INLINE void add_minimum(const activation_group& x, __m512 minimum, __m512 (&acc)[Rows]) {
  for (int r = 0; r < Rows; ++r) {
    acc[r] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(x.part[r / 8].scaled_sum[r % 8]), acc[r]);
  }
}

template <packing Format, int Rows>
TROUPE_INLINE void accumulate_minima(const quantized_tile& tile, const std::uint8_t* scales,
                                     __m512 (&acc)[Rows]) {
  constexpr quantized_packing parts = parts_of<Format>;
  for (int r = 0; r < Rows; ++r) acc[r] = _mm512_setzero_ps();
  for (std::size_t g = 0; g < tile.group_count; g += parts.block_groups) {
    const __m512 minimum = block_minimum<Format>(scales);
    for (std::size_t i = 0; i < parts.block_groups; ++i) {
      add_minimum(tile.activations[g + i], scaled<Format>(minimum, scales, 2 * i + 1), acc);
    }
    scales += parts.block_scale_bytes;
  }
}

// What one group's dot products still need.
struct group_rest {
  __m512 scale;
  __m512i offset_shifts;
  __m512i fractions;          // of zero points: where offsets are looked up
  __m512i minus_zero_points;  // the whole, where weights come without
};

// Few rows multiply their zero points with the sum of a group's values; for more they are added to
// the weights, and what is left over is looked up.
constexpr int zero_points_apart_rows_max = 2;
template <packing Format, int Rows>
constexpr bool zero_points_apart =
    parts_of<Format>.has_zero_point&& Rows <= zero_points_apart_rows_max;

// -offset * sum of quads Begin .. End - 1 of a row. A broadcast and a shift, or a permutation,
// leave the units that multiply alone.
template <packing Format, int Begin, int End>
TROUPE_INLINE __m512i minus_offsets(const activation_group& x, int row, const group_rest& rest) {
  if constexpr (parts_of<Format>.has_zero_point)
    return _mm512_permutexvar_epi32(rest.fractions,
                                    load_offset_sums(x, static_cast<std::size_t>(row)));
  const activation_part& rows = x.part[row / 8];
  const int r = row % 8;
  __m512i minus_sum = _mm512_set1_epi32(End == 4 ? rows.minus_first_sum[r] : rows.minus_sum[r]);
  if constexpr (Begin == 4)
    minus_sum = _mm512_sub_epi32(minus_sum, _mm512_set1_epi32(rows.minus_first_sum[r]));
  return _mm512_sllv_epi32(minus_sum, rest.offset_shifts);
}

// A group's dot products with q alone, in steps of z and less its offset.
TROUPE_INLINE __m512i add_zero_points(__m512i dot, std::int32_t minus_sum, const group_rest& rest) {
  const __m512i sum = _mm512_set1_epi32(static_cast<std::uint16_t>(minus_sum) | 1 << 16);
  const __m512i eighths =
      _mm512_add_epi32(_mm512_slli_epi32(dot, zero_point_shift + fraction_shift),
                       _mm512_madd_epi16(rest.minus_zero_points, sum));
  return _mm512_srai_epi32(eighths, fraction_shift);
}

// acc = fma(float(dot - offset * sum), d * a, acc) for rows First .. First + Batch - 1 of one
// group, over quads Begin .. End - 1.
template <packing Format, int Begin, int End, int First, int Batch, int Rows>
TROUPE_INLINE void multiply_batch(const activation_group& x, const __m512i (&w)[8],
                                  const group_rest& rest, __m512 (&acc)[Rows]) {
  constexpr bool begins_at_zero = parts_of<Format>.has_minimum || zero_points_apart<Format, Rows>;
  __m512i dot[Batch];
  for (int b = 0; b < Batch; ++b) {
    dot[b] = begins_at_zero ? _mm512_setzero_si512()
                            : minus_offsets<Format, Begin, End>(x, First + b, rest);
  }
  for (int j = Begin; j < End; ++j) {
    for (int b = 0; b < Batch; ++b) {
      const std::int8_t* values = x.values[First + b];
      dot[b] = add_quads(dot[b], w[j], values + 4 * j);
    }
  }
  for (int b = 0; b < Batch; ++b) {
    const activation_part& rows = x.part[(First + b) / 8];
    const int r = (First + b) % 8;
    if constexpr (zero_points_apart<Format, Rows>)
      dot[b] = add_zero_points(dot[b], rows.minus_sum[r], rest);
    const __m512 factor = _mm512_mul_ps(rest.scale, _mm512_set1_ps(rows.scale[r]));
    acc[First + b] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[b]), factor, acc[First + b]);
  }
}

template <packing Format, int Begin, int End, int First, int Rows>
TROUPE_INLINE void multiply_rows(const activation_group& x, const __m512i (&w)[8],
                                 const group_rest& rest, __m512 (&acc)[Rows]) {
  constexpr int left = Rows - First;
  constexpr int batches = (left + 3) / 4;  // of about one size, up to 4
  constexpr int batch = (left + batches - 1) / batches;
  multiply_batch<Format, Begin, End, First, batch>(x, w, rest, acc);
  if constexpr (First + batch < Rows) {
    multiply_rows<Format, Begin, End, First + batch>(x, w, rest, acc);
  }
}

/// The L2 asks for what is a few panels further on as well, which keeps more lines on their way
/// than L1 can wait for. (Zen 4: one row takes up to an eighth less time, 16 rows a tenth.) With
/// more rows than these it takes issue slots for nothing where a group has two scales, and is
/// multiplied for longer.
constexpr int far_prefetch_rows_max = 8;
template <packing Format, int Rows>
constexpr bool prefetches_far = Rows <= far_prefetch_rows_max || !parts_of<Format>.has_halves;
constexpr std::size_t far_prefetch_bytes = 16384;

/// From so many rows on the memory has time for what is read later.
constexpr int read_ahead_rows_min = 3;

template <packing Format, int Rows>
TROUPE_INLINE void multiply_panel(const quantized_tile& tile, const std::uint8_t* panel,
                                  const std::uint8_t* next, __m512 (&y)[Rows]) {
  constexpr quantized_packing parts = parts_of<Format>;
  constexpr bool inline_minimum = Rows <= inline_minimum_rows_max<Format>;
  const std::uint8_t* scales = panel + tile.group_count * parts.group_bytes;
  const __m512i offset_shifts = _mm512_set1_epi32(tile.offset_shift);

  __m512 minima[parts.has_minimum ? Rows : 1];
  if constexpr (parts.has_minimum && !inline_minimum) {
    accumulate_minima<Format>(tile, scales, minima);
  }
  if constexpr (inline_minimum) {
    for (int r = 0; r < Rows; ++r) minima[r] = _mm512_setzero_ps();
  }
  for (int r = 0; r < Rows; ++r) y[r] = _mm512_setzero_ps();
  read_ahead::piece ahead;
  if constexpr (Rows >= read_ahead_rows_min) {
    if (tile.ahead != nullptr) ahead = tile.ahead->claim(tile.group_count);
  }
  const activation_group* x = tile.activations;
  const activation_group* const end = x + tile.group_count;
  while (x != end) {
    const __m512 d = block_scale<Format>(scales);
    const __m512 d_minimum = block_minimum<Format>(scales);
    for (std::size_t i = 0; i < parts.block_groups; ++i, ++x, panel += parts.group_bytes) {
      // The next panel comes in while this one is used. Unrolled: as a loop it costs one row a
      // tenth of its time.
#pragma GCC unroll 16
      for (std::size_t line = 0; line < parts.group_lines; ++line, next += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T0);
        if constexpr (prefetches_far<Format, Rows>)
          _mm_prefetch(reinterpret_cast<const char*>(next + far_prefetch_bytes), _MM_HINT_T1);
      }
      if constexpr (Rows >= read_ahead_rows_min) ahead.ask();
      __m512i w[8];
      group_rest rest{.scale = scaled<Format>(d, scales, 2 * i),
                      .offset_shifts = offset_shifts,
                      .fractions = _mm512_setzero_si512(),
                      .minus_zero_points = _mm512_setzero_si512()};
      if constexpr (zero_points_apart<Format, Rows>) {
        load_weights<packing::nibbles_offset>(panel, scales, i, w);
        rest.minus_zero_points = minus_zero_points<Format>(scales, i);
      } else if constexpr (parts.has_halves) {
        load_half_of_sixes<0>(panel, w);
      } else {
        load_weights<Format>(panel, scales, i, w);
        if constexpr (parts.has_zero_point) rest.fractions = load_fractions<Format>(scales, i);
      }
      if constexpr (parts.has_halves) {
        multiply_rows<Format, 0, 4, 0>(*x, w, rest, y);
        load_half_of_sixes<1>(panel, w);
        rest.scale = scaled<Format>(d, scales, 2 * i + 1);
        multiply_rows<Format, 4, 8, 0>(*x, w, rest, y);
      } else {
        multiply_rows<Format, 0, 8, 0>(*x, w, rest, y);
      }
      if constexpr (inline_minimum) {
        add_minimum(*x, scaled<Format>(d_minimum, scales, 2 * i + 1), minima);
      }
    }
    scales += parts.block_scale_bytes;
  }
  if constexpr (parts.has_minimum) {
    for (int r = 0; r < Rows; ++r) y[r] = _mm512_add_ps(y[r], minima[r]);
  }
}

template <packing Format, int Rows>
void multiply_panels(const quantized_tile& tile) {
  const std::uint8_t* panel = tile.panels;
  for (std::size_t index = 0; index < tile.panel_count; ++index, panel += tile.panel_bytes) {
    __m512 y[Rows];
    const bool is_last = index + 1 == tile.panel_count;
    multiply_panel<Format>(tile, panel, is_last ? tile.next_panel : panel + tile.panel_bytes, y);
    store_panel(tile.output, index, y);
  }
}

// A kernel for each number of rows: a batch grows by what its new row costs.
template <packing Format, int Rows = 1>
void multiply_tile(const quantized_tile& tile) {
  if constexpr (Rows < static_cast<int>(tile_rows)) {
    if (tile.row_count > Rows) return multiply_tile<Format, Rows + 1>(tile);
  }
  multiply_panels<Format, Rows>(tile);
}

void quantized(const quantized_tile& tile) {
  with_packing(tile.format, [&tile]<packing Format> { multiply_tile<Format>(tile); });
}

constexpr std::size_t element_bytes(packing format) {
  return format == packing::f32 ? 4 : format == packing::f8 ? 1 : 2;
}

template <packing Format>
TROUPE_INLINE __m512 load_elements(const std::uint8_t* p) {
  if constexpr (Format == packing::f32) {
    return _mm512_loadu_ps(p);
  } else if constexpr (Format == packing::f16) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  } else if constexpr (Format == packing::bf16) {
    const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
  } else {
    // E4M3's fields, put into an f16, give the value times 2^-8 (the biases are 7 and 15).
    const __m256i bytes =
        _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    const __m256i magnitude = _mm256_and_si256(bytes, _mm256_set1_epi16(0x7F));
    const __m256i sign = _mm256_slli_epi16(_mm256_andnot_si256(_mm256_set1_epi16(0x7F), bytes), 8);
    const __m256i half = _mm256_or_si256(_mm256_slli_epi16(magnitude, 7), sign);
    const __m512 value = _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256.0f));
    const __mmask16 nan = _mm256_cmpeq_epi16_mask(magnitude, _mm256_set1_epi16(0x7F));
    return _mm512_mask_mov_ps(value, nan, _mm512_set1_ps(__builtin_nanf("")));
  }
}

// Rows x Panels x 16 outputs.
template <packing Format, int Rows, int Panels>
TROUPE_INLINE void multiply_floats(const float_tile& tile, std::size_t first_row,
                                   std::size_t first_panel) {
  constexpr std::size_t step = panel_outputs * element_bytes(Format);
  const std::uint8_t* panel = tile.panels + first_panel * tile.panel_bytes;
  const float* x = tile.rows + first_row * tile.row_stride;
  __m512 acc[Panels][Rows];
  for (int p = 0; p < Panels; ++p) {
    for (int r = 0; r < Rows; ++r) acc[p][r] = _mm512_setzero_ps();
  }
  for (std::size_t k = 0; k < tile.column_count; ++k, panel += step, ++x) {
    __m512 w[Panels];
    for (int p = 0; p < Panels; ++p) {
      const std::uint8_t* elements = panel + static_cast<std::size_t>(p) * tile.panel_bytes;
      w[p] = load_elements<Format>(elements);
      _mm_prefetch(reinterpret_cast<const char*>(elements + Panels * tile.panel_bytes),
                   _MM_HINT_T0);
    }
    for (int r = 0; r < Rows; ++r) {
      const __m512 value = _mm512_set1_ps(x[static_cast<std::size_t>(r) * tile.row_stride]);
      for (int p = 0; p < Panels; ++p) acc[p][r] = _mm512_fmadd_ps(w[p], value, acc[p][r]);
    }
  }
  output_block out = tile.output;
  out.first += first_row * out.stride;
  for (int p = 0; p < Panels; ++p) {
    store_panel(out, first_panel + static_cast<std::size_t>(p), acc[p]);
  }
}

template <packing Format, int Panels>
void multiply_float_rows(const float_tile& tile, std::size_t panel) {
  std::size_t row = 0;
  for (; row + 8 <= tile.row_count; row += 8) multiply_floats<Format, 8, Panels>(tile, row, panel);
  if (row + 4 <= tile.row_count) {
    multiply_floats<Format, 4, Panels>(tile, row, panel);
    row += 4;
  }
  if (row + 2 <= tile.row_count) {
    multiply_floats<Format, 2, Panels>(tile, row, panel);
    row += 2;
  }
  if (row < tile.row_count) multiply_floats<Format, 1, Panels>(tile, row, panel);
}

template <packing Format>
void multiply_float_tile(const float_tile& tile) {
  std::size_t panel = 0;
  for (; panel + 2 <= tile.panel_count; panel += 2) multiply_float_rows<Format, 2>(tile, panel);
  if (panel < tile.panel_count) multiply_float_rows<Format, 1>(tile, panel);
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

const matmul_kernels matmul_avx512{
    .rows_max = tile_rows,
    .outputs_together = panel_outputs,
    .rows_alone_min = 1,
    .unpack_cycles = 6,
    .row_instructions = 11,
    .quantize = quantize_avx512,
    .quantized = quantized,
    .floats = floats,
};

}  // namespace troupe::kernels
