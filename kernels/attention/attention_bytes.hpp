// The two products of attention over an int8 cache, on integers: a 32-bit lane holds a quad of
// bytes (four d of a key, four tokens of a channel), which two shifts make two pairs of 16-bit
// words; queries and softmax weights are 16-bit words too, so that they round far finer than the
// cache, at the price of two dot products for a quad instead of one. Sums are exact, so nothing
// depends on their order. Simd is one of kernels/base/simd_*.hpp; for *_avx2.cpp, *_avx512.cpp and
// *_amx.cpp only.
#pragma once

#include <cfloat>

#include "kernels/attention/attention_pairs.hpp"

namespace troupe::kernels {

/// The longest sums fit 32 bits.
static_assert(attention_segment_tokens * 32767 * 127 <= 0x7FFFFFFF &&
              attention_head_dim_max * 32767 * 127 <= 0x7FFFFFFF);

/// Bytes of 16 quads: a cache line.
inline constexpr std::size_t kv_quads_bytes = 4 * kv_tile_tokens;

/// What makes floats whose largest magnitude is given integers of at most limit, and what makes
/// them floats again. Where largest is not finite, or too small, all become zeros, and the scale
/// carries a NaN or infinity on.
template <class Simd>
struct word_scale {
  float factor;
  float scale;

  word_scale() = default;
  word_scale(float largest, float limit) : scale(largest / limit) {
    const float inverse = limit / largest;
    factor = inverse > 0.0f && inverse <= FLT_MAX ? inverse : 0.0f;
  }
};

/// Rounds count floats to integers of at most limit, whole vectors at a time: to has room for them.
/// Returns the scale.
template <class Simd>
float quantize_words(const float* from, std::size_t count, float limit, std::uint16_t* to) {
  const auto load = [&](std::size_t i) {
    return count - i < Simd::width ? Simd::load_first(from + i, count - i) : Simd::load(from + i);
  };
  Simd magnitudes = Simd::zero();
  for (std::size_t i = 0; i < count; i += Simd::width) {
    magnitudes = Simd::larger_magnitude(magnitudes, load(i));
  }
  const word_scale<Simd> scale(magnitudes.largest_magnitude(), limit);
  const Simd factor = Simd::broadcast(scale.factor);
  for (std::size_t i = 0; i < count; i += Simd::width) {
    (scale.factor != 0.0f ? load(i) * factor : Simd::zero()).store_words(to + i);
  }
  return scale.scale;
}

/// The scales of a tile's 16 tokens.
template <class Simd>  // a function of each instruction set's own
const float* tile_scales(const std::byte* tile, std::size_t head_dim) {
  return reinterpret_cast<const float*>(tile + kv_tile_tokens * head_dim);
}

/// Makes a row's softmax numerators the words that V's bytes are multiplied with; p is used up.
/// Behind key_count, up to the last tile's end, the words are zero: nothing that stands there
/// counts. Returns the words' scale.
template <class Simd>
float pack_weights(float* p, std::size_t key_count, const segment_tiles& tiles,
                   std::size_t tile_count, std::size_t head_dim, std::uint16_t* words) {
  for (std::size_t tile = 0; tile < tile_count; ++tile) {
    const float* scales = tile_scales<Simd>(tiles.values[tile], head_dim);
    float* at = p + tile * kv_tile_tokens;
    for (std::size_t lane = 0; lane < kv_tile_tokens; lane += Simd::width) {
      const std::size_t key = tile * kv_tile_tokens + lane;
      const std::size_t left = key_count > key ? key_count - key : 0;
      Simd::first_of(Simd::load(at + lane) * Simd::load(scales + lane),
                     left < Simd::width ? left : Simd::width, Simd::zero())
          .store(at + lane);
    }
  }
  const std::size_t end = tile_count * kv_tile_tokens;
  return quantize_words<Simd>(p, end, detail::attention_word_max, words);
}

/// sums[r][c] += the quads of bytes[c] times four words of row r.
template <class Simd, int Rows, int Columns>
inline __attribute__((always_inline)) void add_quads(
    const std::uint16_t* words, const typename Simd::pairs (&bytes)[Columns],
    typename Simd::integers (&sums)[Rows][Columns]) {
  typename Simd::pairs low[Columns], high[Columns];
#pragma GCC unroll 16
  for (int c = 0; c < Columns; ++c) {
    low[c] = Simd::low_bytes(bytes[c]);
    high[c] = Simd::high_bytes(bytes[c]);
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r, words += attention_pair_stride) {
    const auto first = Simd::broadcast_pair(load_pair<Simd>(words));
    const auto second = Simd::broadcast_pair(load_pair<Simd>(words + 2));
#pragma GCC unroll 16
    for (int c = 0; c < Columns; ++c) {
      sums[r][c] = Simd::add_dot(Simd::add_dot(sums[r][c], low[c], first), high[c], second);
    }
  }
}

/// scores[r][tile * 16 + lane] = (sum over d of query[r] * K[lane]) * (scale of the key *
/// factors[r]), for Rows rows and Tiles tiles.
template <class Simd, int Rows, int Tiles>
void score_bytes(const std::uint16_t* query, const float* factors, const segment_tiles& tiles,
                 std::size_t tile, std::size_t head_dim, float* scores) {
  constexpr int parts = 16 / static_cast<int>(Simd::width);
  constexpr int columns = Tiles * parts;
  const std::byte* const* const keys = tiles.keys + tile;
  typename Simd::integers sums[Rows][columns];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < columns; ++c) sums[r][c] = Simd::zero_integers();
  }
  prefetch_ahead<Rows, Tiles>(tiles, tile, kv_tile_tokens * head_dim);  // the scales
  for (std::size_t quad = 0; quad < head_dim / 4; ++quad) {
    prefetch_ahead<Rows, Tiles>(tiles, tile, quad * kv_quads_bytes);
    typename Simd::pairs key[columns];
#pragma GCC unroll 16
    for (int c = 0; c < columns; ++c) {
      key[c] = Simd::load_pairs(reinterpret_cast<const std::uint16_t*>(
          keys[c / parts] + quad * kv_quads_bytes +
          static_cast<std::size_t>(c % parts) * Simd::width * 4));
    }
    add_quads<Simd>(query + 4 * quad, key, sums);
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    const Simd factor = Simd::broadcast(factors[r]);
#pragma GCC unroll 16
    for (int c = 0; c < columns; ++c) {
      const Simd scale = Simd::load(tile_scales<Simd>(keys[c / parts], head_dim) +
                                    static_cast<std::size_t>(c % parts) * Simd::width);
      (Simd::to_floats(sums[r][c]) * (scale * factor))
          .store(scores + static_cast<std::size_t>(r) * attention_row_stride +
                 static_cast<std::size_t>(c) * Simd::width);
    }
  }
}

/// output[r][channel ..] = scales[r] * (sum over the first quads of tokens of weights[r] * V), for
/// Rows rows and Columns vectors of channels.
template <class Simd, int Rows, int Columns>
void weigh_bytes(const std::uint16_t* weights, const float* scales, const segment_tiles& tiles,
                 std::size_t quad_count, std::size_t head_dim, std::size_t channel, float* output) {
  const std::size_t left = head_dim - channel;  // below a vector: its other lanes are not read
  typename Simd::integers sums[Rows][Columns];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < Columns; ++c) sums[r][c] = Simd::zero_integers();
  }
  for (std::size_t quad = 0; quad < quad_count; ++quad) {
    const std::size_t tile = quad * 4 / kv_tile_tokens;
    const std::size_t offset = quad * 4 % kv_tile_tokens * head_dim + channel * 4;
    const auto* values = reinterpret_cast<const std::uint16_t*>(tiles.values[tile] + offset);
    if constexpr (Rows <= prefetch_rows_max) {
      prefetch_lines<Columns * Simd::width * 4>(tiles.next_keys[tile] + offset);
    }
    typename Simd::pairs value[Columns];
#pragma GCC unroll 16
    for (int c = 0; c < Columns; ++c) {
      value[c] = left < Simd::width
                     ? Simd::load_first_pairs(values, left)
                     : Simd::load_pairs(values + static_cast<std::size_t>(c) * Simd::width * 2);
    }
    add_quads<Simd>(weights + 4 * quad, value, sums);
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < Columns; ++c) {
      (Simd::to_floats(sums[r][c]) * Simd::broadcast(scales[r]))
          .store(output + static_cast<std::size_t>(r) * attention_row_stride + channel +
                 static_cast<std::size_t>(c) * Simd::width);
    }
  }
}

/// Rows rows over all channels.
template <class Simd, int Rows>
void weigh_row_bytes(const std::uint16_t* weights, const float* scales, const segment_tiles& tiles,
                     std::size_t quad_count, std::size_t head_dim, float* output) {
  for_channel_steps<Simd, Rows>(head_dim, [&]<int Columns>(std::size_t channel) {
    weigh_bytes<Simd, Rows, Columns>(weights, scales, tiles, quad_count, head_dim, channel, output);
  });
}

}  // namespace troupe::kernels
