// One item of attention on vectors: segments in ascending order, for each the scores, the softmax
// numerators and the weighted values, then the merge. Simd is one of kernels/base/simd_*.hpp; for
// *_avx2.cpp, *_avx512.cpp and *_amx.cpp only.
#pragma once

#include "kernels/attention/attention_bytes.hpp"
#include "kernels/attention/attention_pairs.hpp"
#include "kernels/attention/attention_segments.hpp"
#include "kernels/attention/attention_softmax.hpp"
#include "kernels/attention/attention_tiles.hpp"

namespace troupe::kernels {

/// Rounds to bf16, whole vectors at a time: the row's buffer has room for them.
template <class Simd>
void round_row(const float* from, std::size_t count, std::uint16_t* to) {
  std::size_t i = 0;
  for (; i + Simd::width <= count; i += Simd::width) Simd::load(from + i).store_bf16(to + i);
  if (i < count) Simd::load_first(from + i, count - i).store_bf16(to + i);
}

/// InTiles: a bf16 cache's products in the order of AMX's tiles, for heads of whole 32s.
template <class Simd, kv_dtype Type, bool InTiles = false>
class attention_runner {
 public:
  explicit attention_runner(const detail::attention_item& item)
      : item_(item), row_count_(item.position_count * item.head_count) {}

  void run() {
    pack_query();
    for (std::size_t segment = item_.segment_first; segment < item_.segment_end; ++segment) {
      segment_rows& target = segment == item_.segment_first ? state_ : next_;
      run_segment(segment, target);
      if (item_.partials != nullptr) {
        store_partial(segment, target);
      } else if (segment != item_.segment_first) {
        merge_next();
      }
    }
    if (item_.partials == nullptr) finish();
  }

 private:
  /// bf16 multiplies in pairs, with queries and weights rounded to bf16 as well.
  static constexpr bool in_pairs = Type == kv_dtype::bf16;
  /// int8 multiplies in quads, with queries and weights rounded to 16-bit integers.
  static constexpr bool in_quads = Type == kv_dtype::int8;
  static constexpr std::size_t rows_max =
      Simd::width == 16 ? detail::attention_rows_max_avx512 : detail::attention_rows_max_avx2;
  static constexpr std::size_t rows_room = (rows_max + Simd::width - 1) / Simd::width * Simd::width;
  struct segment_rows {
    float maximum[rows_room];
    float sum[rows_room];
    alignas(64) float output[rows_max * attention_row_stride];
  };

  /// Whole vectors, so the columns behind head_dim are copied too where the row's buffer has them.
  static void copy_row(const float* from, std::size_t count, float* to) {
    std::size_t i = 0;
    for (; i + Simd::width <= count; i += Simd::width) Simd::load(from + i).store(to + i);
    if (i < count) Simd::load_first(from + i, count - i).store(to + i);
  }

  void pack_query() {
    std::size_t row = 0;
    for (std::size_t position = 0; position < item_.position_count; ++position) {
      const float* from = item_.query + position * item_.query_stride;
      for (std::size_t head = 0; head < item_.head_count; ++head, ++row) {
        const float* head_query = from + head * item_.head_dim;
        if constexpr (InTiles) {
          for (std::size_t d = 0; d < item_.head_dim; d += Simd::width) {
            std::uint16_t rounded[Simd::width];
            Simd::load(head_query + d).store_flushed_bf16(rounded);
            Simd::load_bf16(rounded).store(query_ + row * attention_row_stride + d);
          }
        } else if constexpr (in_pairs) {
          round_row<Simd>(head_query, item_.head_dim, pairs_ + row * attention_pair_stride);
        } else if constexpr (in_quads) {
          factors_[row] =
              quantize_words<Simd>(head_query, item_.head_dim, detail::attention_word_max,
                                   pairs_ + row * attention_pair_stride);
        } else {
          copy_row(head_query, item_.head_dim, query_ + row * attention_row_stride);
        }
      }
    }
  }

  /// Addresses of the segment's tiles; a tile that no row sees is never looked up. A segment begins
  /// with a block, because blocks divide segments.
  void find_tiles(std::size_t segment, std::size_t tile_count) {
    find_keys<Simd>(item_, segment, tile_count, tiles_.keys);
    for (std::size_t tile = 0; tile < tile_count; ++tile) {
      tiles_.values[tile] = tiles_.keys[tile] + item_.cache.values_offset;
    }
    for (std::size_t i = 0; i < segment_tiles::ahead_max; ++i) {
      tiles_.keys[tile_count + i] = tiles_.keys[0];
    }
    std::size_t next_count = 0;
    if (segment + 1 < item_.segment_end) {
      next_count = least(tile_count, tiles_in<Simd>(item_, segment + 1));
      find_keys<Simd>(item_, segment + 1, next_count, tiles_.next_keys);
    } else if (item_.next != nullptr) {
      next_count = least(tile_count, tiles_in<Simd>(*item_.next, item_.next->segment_first));
      find_keys<Simd>(*item_.next, item_.next->segment_first, next_count, tiles_.next_keys);
    }
    for (; next_count < tile_count; ++next_count) tiles_.next_keys[next_count] = tiles_.keys[0];
  }

  static std::size_t least(std::size_t a, std::size_t b) { return a < b ? a : b; }

  void run_segment(std::size_t segment, segment_rows& out) {
    const std::size_t first = segment * attention_segment_tokens;
    const std::size_t tile_count = tiles_in<Simd>(item_, segment);
    find_tiles(segment, tile_count);
    if constexpr (InTiles) {
      score_in_tiles(tile_count);
      soften(first, out);
      weigh_in_tiles(first, out);
      return;
    }
    for_row_blocks<Simd>(row_count_, [&]<int Rows>(std::size_t row) {
      for_tile_steps<Simd, Rows>(tile_count, [&]<int Tiles>(std::size_t tile) {
        float* const scores = scores_ + row * attention_row_stride + tile * kv_tile_tokens;
        if constexpr (in_pairs) {
          score_pairs<Simd, Rows, Tiles>(pairs_ + row * attention_pair_stride, tiles_, tile,
                                         item_.head_dim, scores);
        } else if constexpr (in_quads) {
          score_bytes<Simd, Rows, Tiles>(pairs_ + row * attention_pair_stride, factors_ + row,
                                         tiles_, tile, item_.head_dim, scores);
        } else {
          score_tiles<Simd, Type, Rows, Tiles>(query_ + row * attention_row_stride, tiles_, tile,
                                               item_.head_dim, scores);
        }
      });
    });
    soften(first, out);
    weigh(first, out);
  }

  void score_in_tiles(std::size_t tile_count) {
    const pair_rounding<Simd, true> rounding;
    for_row_blocks<Simd>(row_count_, [&]<int Rows>(std::size_t row) {
      const float* const query = query_ + row * attention_row_stride;
      float* const scores = scores_ + row * attention_row_stride;
      for_tile_steps<Simd, Rows, columns_in_tiles<Simd>(Rows)>(
          tile_count, [&]<int Tiles>(std::size_t tile) {
            score_pairs_in_tiles<Simd, Rows, Tiles>(query, tiles_, tile, item_.head_dim,
                                                    scores + tile * kv_tile_tokens);
          });
    });
  }

  /// The heads of one position at a time, whose keys end with it.
  void weigh_in_tiles(std::size_t first, segment_rows& out) {
    const pair_rounding<Simd, true> rounding;
    for (std::size_t position = 0; position < item_.position_count; ++position) {
      const std::size_t keys = keys_in_segment(position, first);
      for_row_blocks<Simd>(item_.head_count, [&]<int Rows>(std::size_t head) {
        const std::size_t row = position * item_.head_count + head;
        const float* const weights = scores_ + row * attention_row_stride;
        float* const output = out.output + row * attention_row_stride;
        for_channel_steps<Simd, Rows, columns_in_tiles<Simd>(Rows)>(
            item_.head_dim, [&]<int Columns>(std::size_t channel) {
              weigh_pairs_in_tiles<Simd, Rows, Columns>(weights, tiles_, item_.head_dim, keys,
                                                        channel, output);
            });
      });
    }
  }

  [[nodiscard]] std::size_t keys_in_segment(std::size_t position, std::size_t first) const {
    return visible_keys<Simd>(item_, position, first);
  }

  void soften(std::size_t first, segment_rows& out) {
    const auto keys_of = [&](std::size_t row) {
      return keys_in_segment(row / item_.head_count, first);
    };
    constexpr auto weights = InTiles    ? soft_weights::rounded
                             : in_pairs ? soft_weights::bf16
                                        : soft_weights::floats;
    soften_rows<Simd, weights>({scores_, weights_, out.maximum, out.sum, item_.soft}, row_count_,
                               keys_of);
  }

  /// The keys that all rows see go through all rows at once; the rest, up to the item's positions,
  /// through the heads of one position at a time, so that no row ever touches a V behind its own
  /// position.
  void weigh(std::size_t first, segment_rows& out) {
    if constexpr (in_quads) return weigh_quads_of_keys(first, out);
    for (std::size_t row = 0; row < row_count_; ++row) {
      float* output = out.output + row * attention_row_stride;
      for (std::size_t d = 0; d < item_.head_dim; d += Simd::width) Simd::zero().store(output + d);
    }
    if constexpr (in_pairs) return weigh_pairs_of_keys(first, out);
    const std::size_t common = keys_in_segment(0, first);
    for_row_blocks<Simd>(row_count_, [&]<int Rows>(std::size_t row) {
      weigh_rows<Simd, Type, Rows>(scores_ + row * attention_row_stride, tiles_, item_.head_dim, 0,
                                   common, out.output + row * attention_row_stride);
    });
    for (std::size_t position = 1; position < item_.position_count; ++position) {
      const std::size_t end = keys_in_segment(position, first);
      if (end == common) break;
      for_row_blocks<Simd>(item_.head_count, [&]<int Rows>(std::size_t head) {
        const std::size_t row = position * item_.head_count + head;
        weigh_rows<Simd, Type, Rows>(scores_ + row * attention_row_stride, tiles_, item_.head_dim,
                                     common, end, out.output + row * attention_row_stride);
      });
    }
  }

  /// The same in pairs of keys; of a position's last pair the second key may not be visible.
  void weigh_pairs_of_keys(std::size_t first, segment_rows& out) {
    const auto weigh_block = [&]<int Rows, bool FirstTokenOnly>(std::size_t row, std::size_t begin,
                                                                std::size_t end) {
      weigh_row_pairs<Simd, Rows, FirstTokenOnly>(weights_ + row * attention_pair_stride, tiles_,
                                                  item_.head_dim, begin, end,
                                                  out.output + row * attention_row_stride);
    };
    const std::size_t common = keys_in_segment(0, first) / 2;
    for_row_blocks<Simd>(row_count_, [&]<int Rows>(std::size_t row) {
      weigh_block.template operator()<Rows, false>(row, 0, common);
    });
    for (std::size_t position = 0; position < item_.position_count; ++position) {
      const std::size_t keys = keys_in_segment(position, first);
      if (keys / 2 == common && keys % 2 == 0) continue;
      for_row_blocks<Simd>(item_.head_count, [&]<int Rows>(std::size_t head) {
        const std::size_t row = position * item_.head_count + head;
        weigh_block.template operator()<Rows, false>(row, common, keys / 2);
        weigh_block.template operator()<Rows, true>(row, keys / 2, (keys + 1) / 2);
      });
    }
  }

  /// The same in quads of keys, for all rows at once: keys that a row does not see have a weight of
  /// zero, and integers hold no NaN.
  void weigh_quads_of_keys(std::size_t first, segment_rows& out) {
    const std::size_t tile_count = tiles_in<Simd>(item_, first / attention_segment_tokens);
    const std::size_t end = keys_in_segment(item_.position_count - 1, first);
    float scales[rows_max];
    for (std::size_t row = 0; row < row_count_; ++row) {
      scales[row] = pack_weights<Simd>(
          scores_ + row * attention_row_stride, keys_in_segment(row / item_.head_count, first),
          tiles_, tile_count, item_.head_dim, weights_ + row * attention_pair_stride);
    }
    for_row_blocks<Simd>(row_count_, [&]<int Rows>(std::size_t row) {
      weigh_row_bytes<Simd, Rows>(weights_ + row * attention_pair_stride, scales + row, tiles_,
                                  (end + 3) / 4, item_.head_dim,
                                  out.output + row * attention_row_stride);
    });
  }

  static row_results results_of(segment_rows& rows) {
    return {rows.maximum, rows.sum, rows.output, attention_row_stride};
  }

  void merge_next() { merge_rows<Simd>(results_of(state_), results_of(next_), item_, row_count_); }

  void finish() { finish_rows<Simd>(results_of(state_), item_, 0, row_count_); }

  void store_partial(std::size_t segment, segment_rows& from) {
    copy_rows<Simd>(results_of(from), 0, partials_of<Simd>(item_, segment), 0, row_count_,
                    item_.head_dim);
  }

  const detail::attention_item& item_;
  const std::size_t row_count_;
  segment_tiles tiles_;
  static constexpr bool in_words = (in_pairs && !InTiles) || in_quads;
  alignas(64) float query_[in_words ? 1 : rows_max * attention_row_stride];
  alignas(64) float scores_[rows_max * attention_row_stride];
  // The same two as bf16, or as integers with the queries' scales.
  alignas(64) std::uint16_t pairs_[in_words ? rows_max * attention_pair_stride : 1];
  alignas(64) std::uint16_t weights_[in_words ? rows_max * attention_pair_stride : 1];
  float factors_[in_quads ? rows_max : 1];
  segment_rows state_;
  segment_rows next_;
};

template <class Simd>
void attention_item_vector(const detail::attention_item& item) {
  with_kv_type<Simd>(item.cache.type,
                     [&]<kv_dtype Type> { attention_runner<Simd, Type>(item).run(); });
}

/// The partials of an item of any number of rows, a vector's worth of rows at a time.
template <class Simd>
void attention_merge_vector(const detail::attention_item& item) {
  struct buffer {
    float maximum[Simd::width];
    float sum[Simd::width];
    alignas(64) float output[Simd::width * attention_row_stride];
    row_results rows() { return {maximum, sum, output, attention_row_stride}; }
  } state, next;
  const std::size_t row_count = item.position_count * item.head_count;
  for (std::size_t row = 0; row < row_count; row += Simd::width) {
    const std::size_t count = row_count - row < Simd::width ? row_count - row : Simd::width;
    for (std::size_t segment = item.segment_first; segment < item.segment_end; ++segment) {
      const bool is_first = segment == item.segment_first;
      copy_rows<Simd>(partials_of<Simd>(item, segment), row, (is_first ? state : next).rows(), 0,
                      count, item.head_dim);
      if (!is_first) merge_rows<Simd>(state.rows(), next.rows(), item, count);
    }
    finish_rows<Simd>(state.rows(), item, row, count);
  }
}

}  // namespace troupe::kernels
