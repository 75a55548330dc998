// What the AVX-512 and the AMX variant of matmul share: how a panel's weights and scales are read,
// and how its outputs are written. For *_avx512.cpp and *_amx.cpp only; everything is inlined.
#pragma once

#include "kernels/base/avx512_intrinsics.hpp"
#include "kernels/matmul/packed_layout.hpp"

#define TROUPE_INLINE inline __attribute__((always_inline))
#define TROUPE_INLINE_LAMBDA __attribute__((always_inline))

namespace troupe::kernels {

namespace {

template <packing Format>
constexpr quantized_packing parts_of = quantized_packings[static_cast<std::size_t>(Format)];

// 16 int8: of a panel's outputs, factor `index` of a block that has any.
template <packing Format>
TROUPE_INLINE __m128i load_factors(const std::uint8_t* block, std::size_t index) {
  return _mm_loadu_si128(
      reinterpret_cast<const __m128i*>(block + parts_of<Format>.factors_offset + 16 * index));
}

// f of group `inner` of a block in the lower four bits of each lane; the others may be set. As an
// index of 16 entries, only those count.
template <packing Format>
TROUPE_INLINE __m512i load_fractions(const std::uint8_t* block, std::size_t inner) {
  const __m128i both = _mm_loadl_epi64(
      reinterpret_cast<const __m128i*>(block + parts_of<Format>.fractions_offset + 8 * inner));
  return _mm512_cvtepu8_epi32(_mm_unpacklo_epi64(both, _mm_srli_epi16(both, 4)));
}

// -(8 * (z - 128) + f) in the lower half of each lane, of group `inner` of a block.
template <packing Format>
TROUPE_INLINE __m512i minus_zero_points(const std::uint8_t* block, std::size_t inner) {
  const __m512i z = _mm512_cvtepu8_epi32(load_factors<Format>(block, 2 * inner + 1));
  const __m512i f =
      _mm512_and_si512(load_fractions<Format>(block, inner), _mm512_set1_epi32(fraction_count - 1));
  const __m512i minus =
      _mm512_sub_epi16(_mm512_set1_epi32(1 << (zero_point_offset_shift + fraction_shift)),
                       _mm512_or_si512(_mm512_slli_epi32(z, fraction_shift), f));
  return _mm512_or_si512(minus, _mm512_set1_epi32(rounded_upper_half));
}

// Quads 4 * Half .. 4 * Half + 3 of one group.
template <int Half>
TROUPE_INLINE void load_half_of_sixes(const std::uint8_t* q, __m512i (&w)[8]) {
  const __m512i upper = _mm512_load_si512(q + 256 + 64 * Half);
  const __m512i bits[4] = {_mm512_slli_epi16(upper, 4), _mm512_slli_epi16(upper, 2), upper,
                           _mm512_srli_epi16(upper, 2)};
  for (int i = 0; i < 4; ++i) {
    const __m512i both = _mm512_load_si512(q + 64 * i);
    const __m512i nibbles = Half == 0 ? both : _mm512_srli_epi16(both, 4);
    const __m512i low = _mm512_and_si512(nibbles, _mm512_set1_epi8(0x0F));
    // low | (bits & 0x30)
    w[4 * Half + i] = _mm512_ternarylogic_epi32(low, bits[i], _mm512_set1_epi8(0x30), 0xF8);
  }
}

// The quads of group `inner` of a block, 16 outputs each; zero points added.
template <packing Format>
TROUPE_INLINE void load_weights(const std::uint8_t* q, const std::uint8_t* block, std::size_t inner,
                                __m512i (&w)[8]) {
  if constexpr (parts_of<Format>.has_zero_point) {
    // Four times each.
    const __m512i order =
        _mm512_setr_epi32(0x00000000, 0x01010101, 0x02020202, 0x03030303, 0x04040404, 0x05050505,
                          0x06060606, 0x07070707, 0x08080808, 0x09090909, 0x0A0A0A0A, 0x0B0B0B0B,
                          0x0C0C0C0C, 0x0D0D0D0D, 0x0E0E0E0E, 0x0F0F0F0F);
    const __m512i zero_points = _mm512_shuffle_epi8(
        _mm512_broadcast_i32x4(load_factors<Format>(block, 2 * inner + 1)), order);
    const __m512i nibble = _mm512_set1_epi8(0x0F << zero_point_shift);
    for (int i = 0; i < 4; ++i) {
      const __m512i both = _mm512_load_si512(q + 64 * i);
      const __m512i low = _mm512_slli_epi16(both, zero_point_shift);
      const __m512i high = _mm512_srli_epi16(both, 4 - zero_point_shift);
      w[i] = _mm512_add_epi8(_mm512_and_si512(low, nibble), zero_points);
      w[i + 4] = _mm512_add_epi8(_mm512_and_si512(high, nibble), zero_points);
    }
  } else if constexpr (parts_of<Format>.form == weight_form::nibbles) {
    const __m512i low = _mm512_set1_epi8(0x0F);
    for (int i = 0; i < 4; ++i) {
      const __m512i both = _mm512_load_si512(q + 64 * i);
      w[i] = _mm512_and_si512(both, low);
      w[i + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
  } else if constexpr (parts_of<Format>.form == weight_form::sixes) {
    load_half_of_sixes<0>(q, w);
    load_half_of_sixes<1>(q, w);
  } else {
    for (int i = 0; i < 8; ++i) w[i] = _mm512_load_si512(q + 64 * i);
  }
}

// Of a row of a group, for each f; then others.
TROUPE_INLINE __m512i load_offset_sums(const activation_group& x, std::size_t row) {
  return _mm512_loadu_si512(x.values[0] + sizeof x.values + row * sizeof x.offset_sums[0]);
}

TROUPE_INLINE __m512 load_halves(const std::uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// Of a step of the weights that load_weights gives.
template <packing Format>
TROUPE_INLINE __m512 block_scale(const std::uint8_t* block) {
  const __m512 d = load_halves(block);
  if constexpr (!parts_of<Format>.has_zero_point) return d;
  return _mm512_mul_ps(d, _mm512_set1_ps(1.0f / (1 << zero_point_shift)));
}

template <packing Format>
TROUPE_INLINE __m512 block_minimum(const std::uint8_t* block) {
  return parts_of<Format>.has_minimum ? load_halves(block + minima_offset) : _mm512_setzero_ps();
}

// d, or d times factor `index` of the block; exact.
template <packing Format>
TROUPE_INLINE __m512 scaled(__m512 d, const std::uint8_t* block, std::size_t index) {
  if constexpr (parts_of<Format>.block_groups == 1) return d;
  const __m512i wide = _mm512_cvtepi8_epi32(load_factors<Format>(block, index));
  return _mm512_mul_ps(d, _mm512_cvtepi32_ps(wide));
}

// Writes y as Rows rows of the outputs of panel `index`.
template <int Rows>
TROUPE_INLINE void store_panel(const output_block& out, std::size_t index,
                               const __m512 (&y)[Rows]) {
  const std::size_t first = index * panel_outputs;
  const std::size_t left = out.output_count - first;
  const __mmask16 mask =
      left >= panel_outputs ? __mmask16{0xFFFF} : static_cast<__mmask16>((1u << left) - 1);
  const __m512 bias =
      out.bias != nullptr ? _mm512_maskz_loadu_ps(mask, out.bias + first) : _mm512_setzero_ps();
  float* row = out.first + first;
  for (int r = 0; r < Rows; ++r) {
    // Without a bias nothing is added: -0 + 0 would not be -0.
    __m512 value = out.bias != nullptr ? _mm512_add_ps(y[r], bias) : y[r];
    if (out.adds) value = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, row), value);
    _mm512_mask_storeu_ps(row, mask, value);
    row += out.stride;
  }
}

// Calls work.template operator()<Format>() for a quantized format that 512-bit machines have.
template <class Work>
TROUPE_INLINE void with_packing(packing format, const Work& work) {
  switch (format) {
    case packing::nibbles_zero_point:
      return work.template operator()<packing::nibbles_zero_point>();
    case packing::nibbles_zero_point_blocks:
      return work.template operator()<packing::nibbles_zero_point_blocks>();
    case packing::nibbles_minimum: return work.template operator()<packing::nibbles_minimum>();
    case packing::nibbles_offset: return work.template operator()<packing::nibbles_offset>();
    case packing::bytes_minimum: return work.template operator()<packing::bytes_minimum>();
    case packing::bytes_offset: return work.template operator()<packing::bytes_offset>();
    case packing::nibbles_minimum_blocks:
      return work.template operator()<packing::nibbles_minimum_blocks>();
    case packing::bytes_minimum_blocks:
      return work.template operator()<packing::bytes_minimum_blocks>();
    case packing::sixes_halves_blocks:
      return work.template operator()<packing::sixes_halves_blocks>();
    default: return;
  }
}

// Groups of which a tile variant makes a chunk, at most Room: as few chunks as there can be, and of
// one size; whole blocks of the format.
template <packing Format, std::size_t Room>
constexpr std::size_t chunk_groups(std::size_t group_count) {
  constexpr std::size_t block = parts_of<Format>.block_groups;
  constexpr std::size_t blocks_max = Room / block;
  const std::size_t blocks = group_count / block;
  const std::size_t chunks = (blocks + blocks_max - 1) / blocks_max;
  return (blocks + chunks - 1) / chunks * block;
}

// Tile variants multiply float weights as vectors do.
inline void floats_on_vectors(const float_tile& tile) {
  matmul_avx512.floats(tile);
}

}  // namespace

}  // namespace troupe::kernels
