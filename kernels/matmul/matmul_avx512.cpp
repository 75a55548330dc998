// matmul and quantize_row for AVX-512 with VNNI. Quantized tiles: 16 outputs are the 32-bit lanes
// of a register; a group's weights are unpacked into 8 registers once and serve up to 16 rows,
// whose activations come as 32-bit broadcasts. Everything has internal linkage (see
// packed_layout.hpp).
#include <immintrin.h>

#include <cfloat>

#include "kernels/matmul/packed_layout.hpp"

// GCC 12's own header starts results from self-initialized "undefined" registers (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

namespace troupe::kernels {

namespace {

#define TROUPE_INLINE inline __attribute__((always_inline))

TROUPE_INLINE __m512i broadcast_quad(const std::int8_t* values) {
  std::int32_t quad;
  __builtin_memcpy(&quad, values, sizeof quad);
  return _mm512_set1_epi32(quad);
}

template <packing Format>
constexpr bool nibbles = Format == packing::nibbles_minimum || Format == packing::nibbles_offset;
template <packing Format>
constexpr bool minimum = Format == packing::nibbles_minimum || Format == packing::bytes_minimum;
template <packing Format>
constexpr bool halves = Format == packing::bytes_halves;
template <packing Format>
constexpr std::size_t group_bytes = nibbles<Format> ? 256 : 512;
template <packing Format>
constexpr std::size_t scale_parts = minimum<Format> || halves<Format> ? 2 : 1;

// The quads of one group, 16 outputs each.
template <packing Format>
TROUPE_INLINE void load_weights(const std::uint8_t* q, __m512i (&w)[8]) {
  if constexpr (nibbles<Format>) {
    const __m512i low = _mm512_set1_epi8(0x0F);
    for (int i = 0; i < 4; ++i) {
      const __m512i both = _mm512_load_si512(q + 64 * i);
      w[i] = _mm512_and_si512(both, low);
      w[i + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
  } else {
    for (int i = 0; i < 8; ++i) w[i] = _mm512_load_si512(q + 64 * i);
  }
}

TROUPE_INLINE __m512 load_scales(const std::uint8_t* scales, std::size_t index, bool wide) {
  if (wide) return _mm512_load_ps(scales + index * 64);
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(scales + index * 32)));
}

// Minima as a pass of their own where Rows leaves no registers for a second set of accumulators.
template <packing Format>
constexpr int inline_minimum_rows_max = minimum<Format> ? 8 : 0;

template <int Rows>
TROUPE_INLINE void accumulate_minima(const quantized_tile& tile, const std::uint8_t* scales,
                                     __m512 (&acc)[Rows]) {
  const activation_group* x = tile.activations;
  for (int r = 0; r < Rows; ++r) acc[r] = _mm512_setzero_ps();
  for (std::size_t g = 0; g < tile.group_count; ++g, ++x) {
    const __m512 minima = load_scales(scales, 2 * g + 1, tile.wide_scales);
    for (int r = 0; r < Rows; ++r) {
      acc[r] = _mm512_fmadd_ps(minima, _mm512_set1_ps(x->part[r / 8].scaled_sum[r % 8]), acc[r]);
    }
  }
}

// acc = fma(float(dot - offset * sum), d * a, acc) for rows First .. First + Batch - 1 of one
// group, over quads Begin .. End - 1.
template <packing Format, int Begin, int End, int First, int Batch, int Rows>
TROUPE_INLINE void multiply_batch(const activation_group& x, const __m512i (&w)[8], __m512 scale,
                                  __m128i shift, __m512 (&acc)[Rows]) {
  __m512i dot[Batch];
  for (int b = 0; b < Batch; ++b) {
    const activation_part& rows = x.part[(First + b) / 8];
    const int r = (First + b) % 8;
    if constexpr (minimum<Format>) {
      dot[b] = _mm512_setzero_si512();
    } else {
      __m512i sum = _mm512_set1_epi32(Begin == 0 && End == 4 ? rows.first_half[r] : rows.total[r]);
      if constexpr (Begin == 4) sum = _mm512_sub_epi32(sum, _mm512_set1_epi32(rows.first_half[r]));
      dot[b] = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_sll_epi32(sum, shift));
    }
  }
  for (int j = Begin; j < End; ++j) {
    for (int b = 0; b < Batch; ++b) {
      const std::int8_t* values = x.part[(First + b) / 8].values[(First + b) % 8];
      dot[b] = _mm512_dpbusd_epi32(dot[b], w[j], broadcast_quad(values + 4 * j));
    }
  }
  for (int b = 0; b < Batch; ++b) {
    const int r = First + b;
    const __m512 factor = _mm512_mul_ps(scale, _mm512_set1_ps(x.part[r / 8].scale[r % 8]));
    acc[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[b]), factor, acc[r]);
  }
}

template <packing Format, int Begin, int End, int First, int Rows>
TROUPE_INLINE void multiply_rows(const activation_group& x, const __m512i (&w)[8], __m512 scale,
                                 __m128i shift, __m512 (&acc)[Rows]) {
  constexpr int batch = Rows - First < 4 ? Rows - First : 4;
  multiply_batch<Format, Begin, End, First, batch>(x, w, scale, shift, acc);
  if constexpr (First + batch < Rows) {
    multiply_rows<Format, Begin, End, First + batch>(x, w, scale, shift, acc);
  }
}

template <packing Format, int Rows>
TROUPE_INLINE void multiply_panel(const quantized_tile& tile, const std::uint8_t* panel,
                                  const std::uint8_t* next, __m512 (&y)[Rows]) {
  constexpr bool inline_minimum = Rows <= inline_minimum_rows_max<Format>;
  const std::uint8_t* scales = panel + tile.group_count * group_bytes<Format>;
  const __m128i shift = _mm_cvtsi32_si128(tile.offset_shift);
  // The next panel comes in while this one is used.
  const std::size_t prefetch_bytes = tile.panel_bytes / tile.group_count / 64 * 64 + 64;
  const std::uint8_t* prefetched = next;

  __m512 minima[minimum<Format> ? Rows : 1];
  if constexpr (minimum<Format> && !inline_minimum) accumulate_minima(tile, scales, minima);
  if constexpr (inline_minimum) {
    for (int r = 0; r < Rows; ++r) minima[r] = _mm512_setzero_ps();
  }
  for (int r = 0; r < Rows; ++r) y[r] = _mm512_setzero_ps();
  const activation_group* x = tile.activations;
  for (std::size_t g = 0; g < tile.group_count; ++g, ++x) {
    for (std::size_t i = 0; i < prefetch_bytes; i += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(prefetched + i), _MM_HINT_T0);
    }
    prefetched += prefetch_bytes;
    __m512i w[8];
    load_weights<Format>(panel + g * group_bytes<Format>, w);
    const __m512 scale = load_scales(scales, g * scale_parts<Format>, tile.wide_scales);
    if constexpr (halves<Format>) {
      multiply_rows<Format, 0, 4, 0>(*x, w, scale, shift, y);
      const __m512 second = load_scales(scales, g * 2 + 1, tile.wide_scales);
      multiply_rows<Format, 4, 8, 0>(*x, w, second, shift, y);
    } else {
      multiply_rows<Format, 0, 8, 0>(*x, w, scale, shift, y);
    }
    if constexpr (inline_minimum) {
      const __m512 m = load_scales(scales, g * 2 + 1, tile.wide_scales);
      for (int r = 0; r < Rows; ++r) {
        minima[r] = _mm512_fmadd_ps(m, _mm512_set1_ps(x->part[r / 8].scaled_sum[r % 8]), minima[r]);
      }
    }
  }
  if constexpr (minimum<Format>) {
    for (int r = 0; r < Rows; ++r) y[r] = _mm512_add_ps(y[r], minima[r]);
  }
}

// Writes rows 0 .. row_count - 1 of y as the outputs of panel `index`.
template <int Rows>
TROUPE_INLINE void store_panel(const output_block& out, std::size_t index, std::size_t row_count,
                               const __m512 (&y)[Rows]) {
  const std::size_t first = index * panel_outputs;
  const std::size_t left = out.output_count - first;
  const __mmask16 mask =
      left >= panel_outputs ? __mmask16{0xFFFF} : static_cast<__mmask16>((1u << left) - 1);
  const __m512 bias =
      out.bias != nullptr ? _mm512_maskz_loadu_ps(mask, out.bias + first) : _mm512_setzero_ps();
  float* row = out.first + first;
  for (int r = 0; r < Rows; ++r) {
    if (static_cast<std::size_t>(r) >= row_count) break;
    // Without a bias nothing is added: -0 + 0 would not be -0.
    const __m512 value = out.bias != nullptr ? _mm512_add_ps(y[r], bias) : y[r];
    _mm512_mask_storeu_ps(row, mask, value);
    row += out.stride;
  }
}

template <packing Format, int Rows>
void multiply_panels(const quantized_tile& tile) {
  const std::uint8_t* panel = tile.panels;
  for (std::size_t index = 0; index < tile.panel_count; ++index, panel += tile.panel_bytes) {
    __m512 y[Rows];
    const bool is_last = index + 1 == tile.panel_count;
    multiply_panel<Format>(tile, panel, is_last ? tile.next_panel : panel + tile.panel_bytes, y);
    store_panel(tile.output, index, tile.row_count, y);
  }
}

// Row counts in between are rounded up: a tile has room for 16 rows, and the surplus is not stored.
template <packing Format>
void multiply_tile(const quantized_tile& tile) {
  switch (tile.row_count) {
    case 1: return multiply_panels<Format, 1>(tile);
    case 2: return multiply_panels<Format, 2>(tile);
    case 3:
    case 4: return multiply_panels<Format, 4>(tile);
    case 5:
    case 6: return multiply_panels<Format, 6>(tile);
    case 7:
    case 8: return multiply_panels<Format, 8>(tile);
    case 9:
    case 10:
    case 11:
    case 12: return multiply_panels<Format, 12>(tile);
    default: return multiply_panels<Format, 16>(tile);
  }
}

void quantized(const quantized_tile& tile) {
  switch (tile.format) {
    case packing::nibbles_minimum: return multiply_tile<packing::nibbles_minimum>(tile);
    case packing::nibbles_offset: return multiply_tile<packing::nibbles_offset>(tile);
    case packing::bytes_minimum: return multiply_tile<packing::bytes_minimum>(tile);
    case packing::bytes_offset: return multiply_tile<packing::bytes_offset>(tile);
    case packing::bytes_halves: return multiply_tile<packing::bytes_halves>(tile);
    default: return;
  }
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
    store_panel(out, first_panel + static_cast<std::size_t>(p), Rows, acc[p]);
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

// Groups of a row that are quantized together: their horizontal sums and maxima share shuffles.
constexpr std::size_t quantized_together = 4;

struct group_values {
  __m512 first, second;
};

TROUPE_INLINE group_values load_group(const float* x, std::size_t left) {
  if (left >= 32) return {_mm512_loadu_ps(x), _mm512_loadu_ps(x + 16)};
  const std::uint32_t bits = (1u << left) - 1;
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>(bits), x),
          left > 16 ? _mm512_maskz_loadu_ps(static_cast<__mmask16>(bits >> 16), x + 16)
                    : _mm512_setzero_ps()};
}

// As integers, so that a NaN is the largest magnitude of all.
TROUPE_INLINE __m512i magnitudes(const group_values& x) {
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  return _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(x.first), magnitude),
                          _mm512_and_si512(_mm512_castps_si512(x.second), magnitude));
}

// Lane i of the result is the largest of m[i].
TROUPE_INLINE __m128i largest_of_each(const __m512i (&m)[quantized_together]) {
  const __m512i ab =
      _mm512_max_epi32(_mm512_unpacklo_epi32(m[0], m[1]), _mm512_unpackhi_epi32(m[0], m[1]));
  const __m512i cd =
      _mm512_max_epi32(_mm512_unpacklo_epi32(m[2], m[3]), _mm512_unpackhi_epi32(m[2], m[3]));
  const __m512i all =
      _mm512_max_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i half =
      _mm256_max_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return _mm_max_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

TROUPE_INLINE __m256i round_group(const group_values& x, float factor) {
  const __m512 by = _mm512_set1_ps(factor);
  // A factor of zero stands for all zeros, also where x is infinite or no number.
  const __mmask16 usable = factor > 0.0f ? __mmask16{0xFFFF} : __mmask16{0};
  const __m512i first = _mm512_maskz_cvtps_epi32(usable, _mm512_mul_ps(x.first, by));
  const __m512i second = _mm512_maskz_cvtps_epi32(usable, _mm512_mul_ps(x.second, by));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm512_cvtepi32_epi8(first)),
                                 _mm512_cvtepi32_epi8(second), 1);
}

struct half_sums {
  __m128i first, second;  // a group a lane
};

TROUPE_INLINE half_sums sum_halves(const __m256i (&q)[quantized_together]) {
  const __m512i ones = _mm512_set1_epi8(1);
  const auto quads = [&](__m256i low, __m256i high) {
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones,
                               _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
  };
  // Each 128-bit lane is a half of a group: (0, 1) and (2, 3).
  const __m512i a = quads(q[0], q[1]), b = quads(q[2], q[3]);
  const __m512i pairs = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i sums = _mm512_add_epi32(pairs, _mm512_shuffle_epi32(pairs, _MM_PERM_BADC));
  // Lanes 0, 1: first half of groups 0 and 2; 4, 5: their second; 8, 9 and 12, 13: groups 1 and 3.
  const __m512i order = _mm512_setr_epi32(0, 8, 1, 9, 4, 12, 5, 13, 0, 0, 0, 0, 0, 0, 0, 0);
  const __m256i sorted = _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, sums));
  return {_mm256_castsi256_si128(sorted), _mm256_extracti128_si256(sorted, 1)};
}

void quantize(const float* x, std::size_t column_count, const row_target& target) {
  const std::size_t group_count = (column_count + 31) / 32;
  const std::size_t part = target.row_in_tile / part_rows, r = target.row_in_tile % part_rows;
  for (std::size_t base = 0; base < group_count; base += quantized_together) {
    const std::size_t left = group_count - base;
    const std::size_t count = left < quantized_together ? left : quantized_together;
    group_values values[quantized_together];
    __m512i magnitude[quantized_together];
    for (std::size_t i = 0; i < quantized_together; ++i) {
      const std::size_t at = (base + i) * 32;
      values[i] = i < count ? load_group(x + at, column_count - at)
                            : group_values{_mm512_setzero_ps(), _mm512_setzero_ps()};
      magnitude[i] = magnitudes(values[i]);
    }
    const __m128 max = _mm_castsi128_ps(largest_of_each(magnitude));
    const __m128 limit = _mm_set1_ps(127.0f);
    const __m128 inverse = _mm_div_ps(limit, max);
    const __mmask8 usable = _mm_cmp_ps_mask(inverse, _mm_setzero_ps(), _CMP_GT_OQ) &
                            _mm_cmp_ps_mask(inverse, _mm_set1_ps(FLT_MAX), _CMP_LE_OQ);
    const __m128 scale = _mm_div_ps(max, limit);
    alignas(16) float factors[quantized_together], scales[quantized_together],
        scaled_sums[quantized_together];
    alignas(16) std::int32_t firsts[quantized_together], totals[quantized_together];
    _mm_store_ps(factors, _mm_maskz_mov_ps(usable, inverse));
    __m256i q[quantized_together];
    for (std::size_t i = 0; i < quantized_together; ++i) q[i] = round_group(values[i], factors[i]);
    const half_sums sums = sum_halves(q);
    const __m128i total = _mm_add_epi32(sums.first, sums.second);
    _mm_store_ps(scales, scale);
    _mm_store_ps(scaled_sums, _mm_mul_ps(scale, _mm_cvtepi32_ps(total)));
    _mm_store_si128(reinterpret_cast<__m128i*>(firsts), sums.first);
    _mm_store_si128(reinterpret_cast<__m128i*>(totals), total);
    for (std::size_t i = 0; i < count; ++i) {
      activation_part& rows = target.groups[base + i].part[part];
      _mm256_store_si256(reinterpret_cast<__m256i*>(rows.values[r]), q[i]);
      rows.scale[r] = scales[i];
      rows.scaled_sum[r] = scaled_sums[i];
      rows.total[r] = totals[i];
      rows.first_half[r] = firsts[i];
    }
  }
}

}  // namespace

const matmul_kernels matmul_avx512{quantize, quantized, floats};

}  // namespace troupe::kernels
