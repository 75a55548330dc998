// Makes the groups of a panel of quantized weights bf16, for AMX's tiles: w = q * d + m in f16,
// rounded once, then the upper 8 bits of its significand (matmul.hpp). For matmul_amx.cpp.
#pragma once

#include "kernels/matmul/bf16_layout.hpp"
#include "kernels/matmul/panels_avx512.hpp"

namespace troupe::kernels {

namespace {

constexpr std::size_t pair_rows = 16;  // of a group: two of its 32 columns each

// Columns 4 j + e and 4 j + e + 2 of the 16 outputs in row 2 j + e.
using weight_group = std::uint16_t[pair_rows][2 * panel_outputs];

// While tiles multiply, port 5 of these cores adds and permutes, but leaves multiplications,
// conversions and shifts to port 0, which then binds. So what can be a permutation is one.

// A block's f16: its 16 d, and behind them its minima, or zeros.
template <packing Format>
TROUPE_INLINE __m512h load_block_halves(const std::uint8_t* block) {
  if constexpr (parts_of<Format>.has_minimum) return _mm512_loadu_ph(block);
  return _mm512_zextph256_ph512(_mm256_loadu_ph(block));
}

// f16 First .. First + 15, one for each output, in both of its words.
template <int First>
TROUPE_INLINE __m512h both_words(__m512h halves) {
  const __m512i twice = _mm512_set_epi16(15, 15, 14, 14, 13, 13, 12, 12, 11, 11, 10, 10, 9, 9, 8, 8,
                                         7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
  const __m512i order = _mm512_add_epi16(twice, _mm512_set1_epi16(First));
  return _mm512_castsi512_ph(_mm512_permutexvar_epi16(order, _mm512_castph_si512(halves)));
}

// d, or d times factor `index` of the block.
template <packing Format>
TROUPE_INLINE __m512h scaled_words(__m512h d, const std::uint8_t* block, std::size_t index) {
  if constexpr (parts_of<Format>.block_groups == 1) return d;
  const __m256i wide = _mm256_cvtepi8_epi16(load_factors<Format>(block, index));
  return _mm512_mul_ph(d, both_words<0>(_mm512_castph256_ph512(_mm256_cvtepi16_ph(wide))));
}

// Bits At .. At + 7 of each byte's quad of words, from that byte on.
template <int At>
TROUPE_INLINE __m512i bits_from(__m512i words) {
  constexpr std::uint64_t bytes = 0x3830282018100800;
  constexpr std::uint64_t at = 0x0101010101010101 * At;
  return _mm512_multishift_epi64_epi8(_mm512_set1_epi64(static_cast<long long>(bytes + at)), words);
}

// w = q * d + m as f16, rounded once, then the upper 8 bits of its significand as a bf16 of
// w * 2^-112: the exponents' fields are the same. Below 2^-14 that is a denormal, which tile
// instructions take as zero.
TROUPE_INLINE __m512i scale_words(__m512h q, __m512h d, __m512h m) {
  const __m512i w = _mm512_castph_si512(_mm512_fmadd_ph(q, d, m));
  return _mm512_and_si512(_mm512_srai_epi16(w, 3), _mm512_set1_epi16(static_cast<short>(0x8FFF)));
}

struct group_scale {
  __m512h d, m;
};

// Rows 2 j and 2 j + 1 of quad j, whose values are the bytes of `quad`.
TROUPE_INLINE void put_bytes(__m512i quad, const group_scale& scale, std::uint16_t* to) {
  const __m512i even = _mm512_and_si512(quad, _mm512_set1_epi16(0xFF));
  const __m512i odd = _mm512_srli_epi16(quad, 8);
  _mm512_store_si512(to, scale_words(_mm512_cvtepu16_ph(even), scale.d, scale.m));
  _mm512_store_si512(to + 2 * panel_outputs,
                     scale_words(_mm512_cvtepu16_ph(odd), scale.d, scale.m));
}

// Quads i and i + 4, whose values are the nibbles of `both`. Only the lower five bits of a word
// choose, and the fifth does not matter.
TROUPE_INLINE void put_nibbles(__m512i both, const group_scale& scale, std::uint16_t* to) {
  // 0 .. 15 as f16, twice.
  const __m512i values = _mm512_castph_si512(
      _mm512_cvtepu16_ph(_mm512_set_epi16(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0,  //
                                          15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)));
  const auto put = [&](__m512i index, std::uint16_t* row) {
    const __m512h q = _mm512_castsi512_ph(_mm512_permutexvar_epi16(index, values));
    _mm512_store_si512(row, scale_words(q, scale.d, scale.m));
  };
  constexpr std::size_t row = 2 * panel_outputs;
  put(both, to);
  put(bits_from<8>(both), to + row);
  put(bits_from<4>(both), to + 8 * row);
  put(bits_from<12>(both), to + 9 * row);
}

// Makes a panel's groups bf16 one after another, each in two halves; asks for as much of what is
// read next.
template <packing Format>
class panel_unpacker {
 public:
  TROUPE_INLINE panel_unpacker(const quantized_tile& tile, const std::uint8_t* panel,
                               std::size_t first_group, const std::uint8_t* next)
      : q_(panel + first_group * parts.group_bytes),
        block_(panel + tile.group_count * parts.group_bytes +
               first_group / parts.block_groups * parts.block_scale_bytes),
        next_(next + first_group * parts.group_lines * 64),
        upscale_(_mm512_set1_ph(static_cast<_Float16>(1 << tile.scale_shift))),
        offset_(_mm512_set1_ph(static_cast<_Float16>(-(1 << tile.offset_shift)))) {}

  template <int Half>
  TROUPE_INLINE void put_half(weight_group& to) {
    if constexpr (Half == 0) begin_group();
    if constexpr (parts.form == weight_form::nibbles) {
      for (int i = 2 * Half; i < 2 * Half + 2; ++i)
        put_nibbles(_mm512_load_si512(q_ + 64 * i), scales_[0], to[2 * i]);
    } else {
      __m512i quads[8];
      load_weights<Format>(q_, block_, index_, quads);
      for (int i = 4 * Half; i < 4 * Half + 4; ++i)
        put_bytes(quads[i], scales_[parts.has_halves ? Half : 0], to[2 * i]);
    }
    if constexpr (Half == 1) end_group();
  }

 private:
  static constexpr quantized_packing parts = parts_of<Format>;

  TROUPE_INLINE void begin_group() {
#pragma GCC unroll 16
    for (std::size_t line = 0; line < parts.group_lines; ++line)
      _mm_prefetch(reinterpret_cast<const char*>(next_ + 64 * line), _MM_HINT_T1);
    if (parts.block_groups == 1 || index_ == 0) {
      const __m512h halves = _mm512_mul_ph(load_block_halves<Format>(block_), upscale_);
      d_ = both_words<0>(halves);
      if constexpr (parts.has_minimum)
        d_minimum_ = both_words<minima_offset / sizeof(std::uint16_t)>(halves);
    }
    for (std::size_t half = 0; half < (parts.has_halves ? 2 : 1); ++half) {
      group_scale& scale = scales_[half];
      scale.d = scaled_words<Format>(d_, block_, 2 * index_ + half);
      scale.m = parts.has_minimum ? scaled_words<Format>(d_minimum_, block_, 2 * index_ + 1)
                                  : _mm512_mul_ph(scale.d, offset_);
    }
  }

  TROUPE_INLINE void end_group() {
    q_ += parts.group_bytes;
    next_ += parts.group_lines * 64;
    if (parts.block_groups > 1) {
      if (++index_ < parts.block_groups) return;
      index_ = 0;
    }
    block_ += parts.block_scale_bytes;
  }

  const std::uint8_t* q_;
  const std::uint8_t* block_;
  const std::uint8_t* next_;
  std::size_t index_ = 0;  // of the group in its block
  __m512h upscale_, offset_, d_{}, d_minimum_{};
  group_scale scales_[2]{};
};

}  // namespace

}  // namespace troupe::kernels
