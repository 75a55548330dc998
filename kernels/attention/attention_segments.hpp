// The segments of an item: which keys and tiles its rows see, where the tiles are, and how the
// results of segments merge, row by row. Simd is one of kernels/base/simd_*.hpp, which also gives
// every function to one instruction set alone; for *_avx2.cpp, *_avx512.cpp and *_amx.cpp only.
#pragma once

#include <cstddef>

#include "kernels/attention/attention_item.hpp"
#include "kernels/attention/soft_weight.hpp"

namespace troupe::kernels {

/// How many keys of the segment that begins at first an item's position-th position sees.
template <class Simd>
std::size_t visible_keys(const detail::attention_item& item, std::size_t position,
                         std::size_t first) {
  const std::size_t keys = item.position_first + position + 1 - first;
  return keys < attention_segment_tokens ? keys : attention_segment_tokens;
}

/// Tiles of a segment that an item's position-th position sees.
template <class Simd>
std::size_t visible_tiles(const detail::attention_item& item, std::size_t position,
                          std::size_t segment) {
  const std::size_t keys = visible_keys<Simd>(item, position, segment * attention_segment_tokens);
  return (keys + kv_tile_tokens - 1) / kv_tile_tokens;
}

/// Tiles of a segment that any of an item's positions sees.
template <class Simd>
std::size_t tiles_in(const detail::attention_item& item, std::size_t segment) {
  return visible_tiles<Simd>(item, item.position_count - 1, segment);
}

/// The addresses of a segment's first tile_count K tiles. A segment begins with a block, because
/// blocks divide segments.
template <class Simd>
void find_keys(const detail::attention_item& item, std::size_t segment, std::size_t tile_count,
               const std::byte** keys) {
  const detail::attention_cache& cache = item.cache;
  const block_index* block = cache.table + segment * attention_segment_tokens / cache.block_tokens;
  for (std::size_t tile = 0; tile < tile_count; ++block) {
    const std::byte* at = cache.data + static_cast<std::size_t>(*block) * cache.block_bytes;
    for (std::size_t token = 0; token < cache.block_tokens && tile < tile_count;
         token += kv_tile_tokens, ++tile, at += cache.tile_bytes) {
      keys[tile] = at;
    }
  }
}

/// The results of some rows over some segments: the largest score, the sum of the softmax
/// numerators and head_dim weighted sums of V of each.
struct row_results {
  float* maximum;
  float* sum;
  float* output;
  std::size_t stride;  ///< elements of output from a row to the next
};

/// state becomes the result over its own segments and the one behind them. Both have room for whole
/// vectors everywhere.
template <class Simd>
void merge_rows(const row_results& state, const row_results& next,
                const detail::attention_item& item, std::size_t row_count) {
  const soft_weigher<Simd> weigh(item.soft);
  for (std::size_t first = 0; first < row_count; first += Simd::width) {
    const Simd old_maximum = Simd::load(state.maximum + first);
    const Simd next_maximum = Simd::load(next.maximum + first);
    const Simd maximum = Simd::max(next_maximum, old_maximum);
    const Simd state_scales = weigh(old_maximum - maximum);
    const Simd next_scales = weigh(next_maximum - maximum);
    maximum.store(state.maximum + first);
    Simd::fma(Simd::load(next.sum + first), next_scales,
              Simd::load(state.sum + first) * state_scales)
        .store(state.sum + first);
    float state_scale[Simd::width], next_scale[Simd::width];
    state_scales.store(state_scale);
    next_scales.store(next_scale);
    for (std::size_t i = 0; i < Simd::width && first + i < row_count; ++i) {
      const Simd state_factor = Simd::broadcast(state_scale[i]);
      const Simd next_factor = Simd::broadcast(next_scale[i]);
      float* const to = state.output + (first + i) * state.stride;
      const float* const from = next.output + (first + i) * next.stride;
      for (std::size_t d = 0; d < item.head_dim; d += Simd::width) {
        Simd::fma(Simd::load(from + d), next_factor, Simd::load(to + d) * state_factor)
            .store(to + d);
      }
    }
  }
}

/// Writes the weighted means of V, zeros without their sign, to where the item's rows from
/// first_row on go.
template <class Simd>
void finish_rows(const row_results& state, const detail::attention_item& item,
                 std::size_t first_row, std::size_t row_count) {
  for (std::size_t r = 0; r < row_count; ++r) {
    const std::size_t row = first_row + r;
    const float* const from = state.output + r * state.stride;
    float* const to = item.output + row / item.head_count * item.output_stride +
                      row % item.head_count * item.head_dim;
    const Simd inverse = Simd::broadcast(1.0f / state.sum[r]);
    std::size_t d = 0;
    for (; d + Simd::width <= item.head_dim; d += Simd::width) {
      Simd::fma(Simd::load(from + d), inverse, Simd::zero()).store(to + d);
    }
    if (const std::size_t left = item.head_dim - d; left != 0) {
      Simd::fma(Simd::load_first(from + d, left), inverse, Simd::zero()).store_first(to + d, left);
    }
  }
}

/// The partial results of one segment; there is no room behind them.
template <class Simd>
row_results partials_of(const detail::attention_item& item, std::size_t segment) {
  const std::size_t row_count = item.position_count * item.head_count;
  float* const first =
      item.partials + (segment - item.segment_first) * row_count * (2 + item.head_dim);
  return {first, first + row_count, first + 2 * row_count, item.head_dim};
}

/// Row from_row and the following to to_row and the following.
template <class Simd>
void copy_rows(const row_results& from, std::size_t from_row, const row_results& to,
               std::size_t to_row, std::size_t row_count, std::size_t head_dim) {
  __builtin_memcpy(to.maximum + to_row, from.maximum + from_row, row_count * sizeof(float));
  __builtin_memcpy(to.sum + to_row, from.sum + from_row, row_count * sizeof(float));
  for (std::size_t r = 0; r < row_count; ++r) {
    __builtin_memcpy(to.output + (to_row + r) * to.stride,
                     from.output + (from_row + r) * from.stride, head_dim * sizeof(float));
  }
}

}  // namespace troupe::kernels
