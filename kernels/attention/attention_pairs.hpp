// The two products of attention over a bf16 cache, as dot products of pairs: each 32-bit lane holds
// two bf16 values (two d of a key, two tokens of a channel), and one step adds the second product,
// then the first, each rounded once, with denormal inputs and results taken as zero: what vdpbf16ps
// does. And the same two in the order of AMX's tiles, for few rows. Simd is one of
// kernels/base/simd_*.hpp; for *_avx2.cpp, *_avx512.cpp, *_avx512bf16.cpp and *_amx.cpp only.
#pragma once

#include <immintrin.h>

#include "kernels/attention/attention_tiles.hpp"

namespace troupe::kernels {

/// Pairs of tokens in a tile.
inline constexpr std::size_t kv_tile_pairs = kv_tile_tokens / 2;
/// A row of packed values: the floats' stride, so that scratch rows are laid out alike.
inline constexpr std::size_t attention_pair_stride = attention_row_stride;

/// While it lives, products made of single multiplications flush denormals as vdpbf16ps and
/// tdpbf16ps do by themselves.
template <class Simd, bool IsNeeded = !Simd::has_pair_dot>
class pair_rounding {
 public:
  pair_rounding() {
    if constexpr (IsNeeded) {
      saved_ = _mm_getcsr();
      _mm_setcsr(saved_ | flush_and_zero);
    }
  }
  ~pair_rounding() {
    if constexpr (IsNeeded) _mm_setcsr(saved_);
  }
  pair_rounding(const pair_rounding&) = delete;
  pair_rounding& operator=(const pair_rounding&) = delete;

 private:
  static constexpr unsigned flush_and_zero = 0x8040;  // FTZ and DAZ of MXCSR
  unsigned saved_ = 0;
};

template <class Simd>  // a function of each instruction set's own
std::uint32_t load_pair(const std::uint16_t* from) {
  std::uint32_t pair;
  __builtin_memcpy(&pair, from, sizeof pair);
  return pair;
}

/// scores[r][tile * 16 + lane] = sum over pairs of d of query[r] * K[lane], for Rows rows
/// and Tiles tiles. K tiles are [head_dim / 2][16 keys][2].
template <class Simd, int Rows, int Tiles>
void score_pairs(const std::uint16_t* query, const segment_tiles& tiles, std::size_t tile,
                 std::size_t head_dim, float* scores) {
  constexpr int parts = 16 / static_cast<int>(Simd::width);
  constexpr int columns = Tiles * parts;
  const std::uint16_t* keys[Tiles];
  for (int t = 0; t < Tiles; ++t) {
    keys[t] =
        reinterpret_cast<const std::uint16_t*>(tiles.keys[tile + static_cast<std::size_t>(t)]);
  }
  Simd sums[Rows][columns];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < columns; ++c) sums[r][c] = Simd::zero();
  }
  const pair_rounding<Simd> rounding;
  for (std::size_t pair = 0; pair < head_dim / 2; ++pair) {
    prefetch_ahead<Rows, Tiles>(tiles, tile, pair * cache_line_bytes);  // 16 keys' pairs are a line
    typename Simd::pairs key[columns];
#pragma GCC unroll 16
    for (int c = 0; c < columns; ++c) {
      key[c] = Simd::load_pairs(keys[c / parts] + pair * kv_tile_tokens * 2 +
                                static_cast<std::size_t>(c % parts) * Simd::width * 2);
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const auto q = Simd::broadcast_pair(
          load_pair<Simd>(query + static_cast<std::size_t>(r) * attention_pair_stride + 2 * pair));
#pragma GCC unroll 16
      for (int c = 0; c < columns; ++c) sums[r][c] = Simd::add_dot(sums[r][c], key[c], q);
    }
  }
  store_sums(sums, scores);
}

/// output[r][channel ..] += sum over token pairs first .. end - 1 (of the segment) of weights[r] *
/// V, for Rows rows and Columns vectors of channels. V tiles are [8 pairs][head_dim][2].
/// FirstTokenOnly: the second token of a pair is not visible; whatever stands there counts as zero.
template <class Simd, int Rows, int Columns, bool FirstTokenOnly>
void weigh_pairs(const std::uint16_t* weights, const segment_tiles& tiles, std::size_t head_dim,
                 std::size_t first, std::size_t end, std::size_t channel, float* output) {
  const std::size_t left = head_dim - channel;  // below a vector: its other lanes are not read
  Simd sums[Rows][Columns];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < Columns; ++c) {
      sums[r][c] = Simd::load(output + static_cast<std::size_t>(r) * attention_row_stride +
                              channel + static_cast<std::size_t>(c) * Simd::width);
    }
  }
  const pair_rounding<Simd> rounding;
  for (std::size_t pair = first; pair < end; ++pair) {
    const std::size_t tile = pair / kv_tile_pairs;
    const std::size_t offset = (pair % kv_tile_pairs * head_dim + channel) * 2;
    const auto* values = reinterpret_cast<const std::uint16_t*>(tiles.values[tile]) + offset;
    if constexpr (Rows <= prefetch_rows_max) {
      prefetch_lines<Columns * Simd::width * 2 * sizeof(std::uint16_t)>(
          reinterpret_cast<const std::uint16_t*>(tiles.next_keys[tile]) + offset);
    }
    typename Simd::pairs value[Columns];
#pragma GCC unroll 16
    for (int c = 0; c < Columns; ++c) {
      value[c] = left < Simd::width
                     ? Simd::load_first_pairs(values, left)
                     : Simd::load_pairs(values + static_cast<std::size_t>(c) * Simd::width * 2);
      if constexpr (FirstTokenOnly) value[c] = Simd::first_of_pairs(value[c]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const auto weight = Simd::broadcast_pair(load_pair<Simd>(
          weights + static_cast<std::size_t>(r) * attention_pair_stride + 2 * pair));
#pragma GCC unroll 16
      for (int c = 0; c < Columns; ++c) sums[r][c] = Simd::add_dot(sums[r][c], value[c], weight);
    }
  }
  store_sums(sums, output + channel);
}

/// Rows rows over all channels and token pairs first .. end - 1.
template <class Simd, int Rows, bool FirstTokenOnly>
void weigh_row_pairs(const std::uint16_t* weights, const segment_tiles& tiles, std::size_t head_dim,
                     std::size_t first, std::size_t end, float* output) {
  if (first == end) return;
  for_channel_steps<Simd, Rows>(head_dim, [&]<int Columns>(std::size_t channel) {
    weigh_pairs<Simd, Rows, Columns, FirstTokenOnly>(weights, tiles, head_dim, first, end, channel,
                                                     output);
  });
}

/// Pairs that a tile's depth takes: their first and their second products ascend apart, from zero.
inline constexpr std::size_t tile_depth_pairs = 16;

/// Accumulators of twice as many sums as elsewhere fill the registers.
template <class Simd>
constexpr int columns_in_tiles(int rows) {
  return rows > 6 ? 1 : rows > 3 ? 2 : 4;
}

/// As score_pairs, in the order of tiles; query is rounded to bf16, and head_dim a multiple of 32.
/// This and the next while a pair_rounding lives: it takes longer to begin than a tile.
template <class Simd, int Rows, int Tiles>
void score_pairs_in_tiles(const float* query, const segment_tiles& tiles, std::size_t tile,
                          std::size_t head_dim, float* scores) {
  static_assert(Simd::width == kv_tile_tokens);
  const std::uint16_t* keys[Tiles];
  for (int t = 0; t < Tiles; ++t) {
    keys[t] =
        reinterpret_cast<const std::uint16_t*>(tiles.keys[tile + static_cast<std::size_t>(t)]);
  }
  Simd sums[Rows][Tiles];
  for (std::size_t first = 0; first < head_dim / 2; first += tile_depth_pairs) {
    Simd parts[2][Rows][Tiles];
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
      for (int t = 0; t < Tiles; ++t) parts[0][r][t] = parts[1][r][t] = Simd::zero();
    }
    for (std::size_t pair = first; pair < first + tile_depth_pairs; ++pair) {
      prefetch_ahead<Rows, Tiles>(tiles, tile, pair * cache_line_bytes);
      Simd key[2][Tiles];
#pragma GCC unroll 16
      for (int t = 0; t < Tiles; ++t) {
        const auto both = Simd::load_pairs(keys[t] + pair * kv_tile_tokens * 2);
        key[0][t] = Simd::first_floats(both);
        key[1][t] = Simd::second_floats(both);
      }
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        const float* const q =
            query + static_cast<std::size_t>(r) * attention_row_stride + 2 * pair;
#pragma GCC unroll 16
        for (int t = 0; t < Tiles; ++t) {
          parts[0][r][t] = Simd::fma(Simd::broadcast(q[0]), key[0][t], parts[0][r][t]);
          parts[1][r][t] = Simd::fma(Simd::broadcast(q[1]), key[1][t], parts[1][r][t]);
        }
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
      for (int t = 0; t < Tiles; ++t) {
        sums[r][t] = (first == 0 ? Simd::zero() : sums[r][t]) + (parts[0][r][t] + parts[1][r][t]);
      }
    }
  }
  store_sums(sums, scores);
}

/// output[r][channel ..] = sum over the segment's first key_count keys of weights[r] * V, in the
/// order of tiles, for Rows rows and Columns vectors of channels; weights are rounded to bf16.
template <class Simd, int Rows, int Columns>
void weigh_pairs_in_tiles(const float* weights, const segment_tiles& tiles, std::size_t head_dim,
                          std::size_t key_count, std::size_t channel, float* output) {
  Simd sums[Rows][Columns];
  for (std::size_t first = 0; 2 * first < key_count; first += tile_depth_pairs) {
    Simd parts[2][Rows][Columns];
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
      for (int c = 0; c < Columns; ++c) parts[0][r][c] = parts[1][r][c] = Simd::zero();
    }
    const auto add = [&]<bool FirstTokenOnly>(std::size_t pair) __attribute__((always_inline)) {
      const std::size_t tile = pair / kv_tile_pairs;
      const std::size_t offset = (pair % kv_tile_pairs * head_dim + channel) * 2;
      const auto* values = reinterpret_cast<const std::uint16_t*>(tiles.values[tile]) + offset;
      if constexpr (Rows <= prefetch_rows_max) {
        prefetch_lines<Columns * Simd::width * 2 * sizeof(std::uint16_t)>(
            reinterpret_cast<const std::uint16_t*>(tiles.next_keys[tile]) + offset);
      }
#pragma GCC unroll 16
      for (int c = 0; c < Columns; ++c) {
        const auto both = Simd::load_pairs(values + static_cast<std::size_t>(c) * Simd::width * 2);
        const Simd first_value = Simd::first_floats(both), second_value = Simd::second_floats(both);
#pragma GCC unroll 16
        for (int r = 0; r < Rows; ++r) {
          const float* const weight =
              weights + static_cast<std::size_t>(r) * attention_row_stride + 2 * pair;
          parts[0][r][c] = Simd::fma(Simd::broadcast(weight[0]), first_value, parts[0][r][c]);
          if constexpr (!FirstTokenOnly) {
            parts[1][r][c] = Simd::fma(Simd::broadcast(weight[1]), second_value, parts[1][r][c]);
          }
        }
      }
    };
    const std::size_t whole = key_count / 2;
    const std::size_t end = first + tile_depth_pairs;
    for (std::size_t pair = first; pair < (whole < end ? whole : end); ++pair) {
      add.template operator()<false>(pair);
    }
    if (whole < end && key_count % 2 != 0) add.template operator()<true>(whole);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
      for (int c = 0; c < Columns; ++c) {
        sums[r][c] = (first == 0 ? Simd::zero() : sums[r][c]) + (parts[0][r][c] + parts[1][r][c]);
      }
    }
  }
  store_sums(sums, output + channel);
}

}  // namespace troupe::kernels
