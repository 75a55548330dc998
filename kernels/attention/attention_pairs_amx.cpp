// Attention over a bf16 cache under `isa: amx`: on AMX's bf16 tiles, and of few rows, which wait
// for memory, on vectors in the tiles' order. A K tile is one right factor for each 32 d as it
// stands (rows of 2 d, 16 keys across), and two V tiles are one when they follow each other (rows
// of 2 tokens, 16 channels across); queries and softmax weights are rounded to bf16.
#include "kernels/base/simd_avx512.hpp"
// The vector type comes first: the templates below find its functions in it.
#include "kernels/attention/attention_amx.hpp"
#include "kernels/attention/attention_vector.hpp"

namespace troupe::kernels {

namespace {

/// Of a left factor's row, and of a right factor's column: d, or keys.
constexpr std::size_t tile_depth = detail::attention_head_dim_step_amx_pairs;
/// Key tiles that the depth of one product takes.
constexpr std::size_t depth_tiles = tile_depth / kv_tile_tokens;
/// Right factors that share a left one, each with a register for its sums.
constexpr std::size_t columns_max = 4;
/// Rows of left factors that share right ones, and how many of those then.
constexpr std::size_t rows_together = 2 * tile_rows;
constexpr std::size_t columns_of_two = 2;
/// Rows of packed weights do not all begin in the same cache sets.
constexpr std::size_t weight_stride = attention_segment_tokens + tile_depth;

/// An exponent of ones: infinite or NaN.
constexpr std::uint16_t bf16_exponent = 0x7F80;

/// Left rows times Columns right factors, over steps x 32 of depth; the sums to `to`. Sums in tiles
/// 0 to 3, the left factor in 4, the right ones in 5 to 7. right_of(column, step) is where one
/// begins.
template <std::size_t Columns, class RightOf>
void multiply(const std::uint16_t* left, std::size_t left_row_bytes, std::size_t steps,
              std::size_t right_row_bytes, const RightOf& right_of, float* to,
              std::size_t to_row_bytes) {
  zero_tile<0>();
  if constexpr (Columns > 1) zero_tile<1>();
  if constexpr (Columns > 2) zero_tile<2>();
  if constexpr (Columns > 3) zero_tile<3>();
  for (std::size_t step = 0; step < steps; ++step) {
    load_tile<4>(left + step * tile_depth, left_row_bytes);
    load_tile<5>(right_of(0, step), right_row_bytes);
    multiply_bf16_tiles<0, 4, 5>();
    if constexpr (Columns > 1) {
      load_tile<6>(right_of(1, step), right_row_bytes);
      multiply_bf16_tiles<1, 4, 6>();
    }
    if constexpr (Columns > 2) {
      load_tile<7>(right_of(2, step), right_row_bytes);
      multiply_bf16_tiles<2, 4, 7>();
    }
    if constexpr (Columns > 3) {
      load_tile<5>(right_of(3, step), right_row_bytes);
      multiply_bf16_tiles<3, 4, 5>();
    }
  }
  store_tile<0>(to, to_row_bytes);
  if constexpr (Columns > 1) store_tile<1>(to + tile_columns, to_row_bytes);
  if constexpr (Columns > 2) store_tile<2>(to + 2 * tile_columns, to_row_bytes);
  if constexpr (Columns > 3) store_tile<3>(to + 3 * tile_columns, to_row_bytes);
}

/// The same of two tiles of left rows, which follow each other, and Columns right factors, one or
/// two: each is loaded once for both. Sums in tiles 0 to 3 (2 * row tile + column), left factors in
/// 4 and 5, right ones in 6 and 7.
template <std::size_t Columns, class RightOf>
void multiply_two(const std::uint16_t* left, std::size_t left_row_bytes, std::size_t steps,
                  std::size_t right_row_bytes, const RightOf& right_of, float* to,
                  std::size_t to_row_bytes) {
  const auto below = [](auto* row, std::size_t row_bytes) {
    return row + tile_rows * row_bytes / sizeof *row;
  };
  zero_tile<0>();
  if constexpr (Columns > 1) zero_tile<1>();
  zero_tile<2>();
  if constexpr (Columns > 1) zero_tile<3>();
  for (std::size_t step = 0; step < steps; ++step) {
    const std::uint16_t* const rows = left + step * tile_depth;
    load_tile<4>(rows, left_row_bytes);
    load_passing_tile<6>(right_of(0, step), right_row_bytes);
    multiply_bf16_tiles<0, 4, 6>();
    if constexpr (Columns > 1) {
      load_passing_tile<7>(right_of(1, step), right_row_bytes);
      multiply_bf16_tiles<1, 4, 7>();
    }
    load_tile<5>(below(rows, left_row_bytes), left_row_bytes);
    multiply_bf16_tiles<2, 5, 6>();
    if constexpr (Columns > 1) multiply_bf16_tiles<3, 5, 7>();
  }
  store_tile<0>(to, to_row_bytes);
  if constexpr (Columns > 1) store_tile<1>(to + tile_columns, to_row_bytes);
  float* const second = below(to, to_row_bytes);
  store_tile<2>(second, to_row_bytes);
  if constexpr (Columns > 1) store_tile<3>(second + tile_columns, to_row_bytes);
}

/// Calls work.template operator()<Columns>() for 1 to columns_max.
template <class Work>
void with_columns(std::size_t columns, const Work& work) {
  switch (columns) {
    case 1: return work.template operator()<1>();
    case 2: return work.template operator()<2>();
    case 3: return work.template operator()<3>();
    default: return work.template operator()<columns_max>();
  }
}

class pair_attention : public tile_attention<pair_attention, rows_together> {
 public:
  using tile_attention::tile_attention;

  /// Whether a V that only some of the rows see is infinite or NaN: a weight of zero does not hide
  /// it from the others. To be asked before run(), whose scratch it uses.
  [[nodiscard]] bool shows_what_is_hidden() {
    if (item_.position_count == 1) return false;
    const std::size_t segment = item_.segment_end - 1;
    const std::size_t first = visible_keys<simd>(item_, 0, segment * attention_segment_tokens);
    const std::size_t end =
        visible_keys<simd>(item_, item_.position_count - 1, segment * attention_segment_tokens);
    if (first == end) return false;  // of an item's part that is not its last segment
    const std::size_t tile_count = tiles_in<simd>(item_, segment);
    find_keys<simd>(item_, segment, tile_count, keys_);
    const __m512i exponent = _mm512_set1_epi16(bf16_exponent);
    __mmask32 found = 0;
    for (std::size_t tile = first / kv_tile_tokens; tile < tile_count; ++tile) {
      copy_values(tile, end, values_);
      for (std::size_t i = 0; i < kv_tile_tokens * item_.head_dim; i += 2 * simd::width) {
        const __m512i bits = _mm512_and_si512(_mm512_load_si512(values_ + i), exponent);
        found |= _mm512_cmpeq_epi16_mask(bits, exponent);
      }
    }
    return found != 0;
  }

 private:
  friend tile_attention;

  /// Few rows are multiplied and stored in less time than 16.
  [[nodiscard]] tile_shapes shapes() const {
    const std::size_t rows = row_count_ < tile_rows ? row_count_ : tile_rows;
    tile_shapes made;
    for (std::size_t i = 0; i < 5; ++i) made.set(i, rows, tile_row_bytes);
    for (std::size_t i = 5; i < 8; ++i) made.set(i, tile_rows, tile_row_bytes);
    return made;
  }

  void pack_query() {
    for (std::size_t row = 0; row < row_count_; ++row) {
      std::uint16_t* const to = query_ + row * item_.head_dim;
      for (std::size_t d = 0; d < item_.head_dim; d += simd::width) {
        simd::load(queries_[row] + d).store_flushed_bf16(to + d);
      }
    }
  }

  /// Finds the segment's tiles and copies its V, so that the tiles follow each other; what no row
  /// sees becomes zero.
  void load_segment(std::size_t segment) {
    const std::size_t first = segment * attention_segment_tokens;
    const std::size_t end = visible_keys<simd>(item_, item_.position_count - 1, first);
    const std::size_t tile_count = tiles_in<simd>(item_, segment);
    find_keys<simd>(item_, segment, tile_count, keys_);
    const std::size_t elements = kv_tile_tokens * item_.head_dim;
    for (std::size_t tile = 0; tile < tile_count; ++tile) {
      copy_values(tile, end, values_ + tile * elements);
    }
    if (tile_count % depth_tiles == 0) return;
    std::uint16_t* const behind = values_ + tile_count * elements;
    for (std::size_t i = 0; i < elements; i += 2 * simd::width) {
      _mm512_store_si512(behind + i, _mm512_setzero_si512());
    }
  }

  /// V of a tile, of keys below end (of the segment).
  void copy_values(std::size_t tile, std::size_t end, std::uint16_t* to) {
    const std::byte* const from = keys_[tile] + item_.cache.values_offset;
    const std::size_t row = 2 * item_.head_dim;  // a pair of tokens
    for (std::size_t pair = 0; pair < kv_tile_tokens / 2; ++pair) {
      const std::size_t key = tile * kv_tile_tokens + 2 * pair;
      const __mmask32 seen = key + 2 <= end ? 0xFFFFFFFFu : key < end ? 0x55555555u : 0u;
      for (std::size_t i = pair * row; i < (pair + 1) * row; i += 2 * simd::width) {
        _mm512_store_si512(to + i, _mm512_maskz_loadu_epi16(seen, from + 2 * i));
      }
    }
  }

  /// `count` rows of left factors (up to two tiles) times `columns` right factors, from which
  /// right_of(column, step) takes what it needs.
  template <class RightOf>
  static void multiply_all(const std::uint16_t* left, std::size_t left_row_bytes, std::size_t count,
                           std::size_t steps, std::size_t right_row_bytes, std::size_t columns,
                           const RightOf& right_of, float* to, std::size_t to_row_bytes) {
    const bool are_two = count > tile_rows;
    const std::size_t together = are_two ? columns_of_two : columns_max;
    for (std::size_t first = 0; first < columns; first += together) {
      const auto right = [&](std::size_t column, std::size_t step) {
        return right_of(first + column, step);
      };
      const std::size_t columns_left = columns - first;
      float* const at = to + first * tile_columns;
      if (are_two && columns_left > 1) {
        multiply_two<2>(left, left_row_bytes, steps, right_row_bytes, right, at, to_row_bytes);
      } else if (are_two) {
        multiply_two<1>(left, left_row_bytes, steps, right_row_bytes, right, at, to_row_bytes);
      } else {
        with_columns(columns_left < columns_max ? columns_left : columns_max,
                     [&]<std::size_t Columns> {
                       multiply<Columns>(left, left_row_bytes, steps, right_row_bytes, right, at,
                                         to_row_bytes);
                     });
      }
    }
  }

  void score(std::size_t row, std::size_t count, std::size_t tile_count) {
    multiply_all(
        query_ + row * item_.head_dim, item_.head_dim * sizeof(std::uint16_t), count,
        item_.head_dim / tile_depth, tile_row_bytes, tile_count,
        [&](std::size_t tile, std::size_t step) {
          return keys_[tile] + step * tile_rows * tile_row_bytes;
        },
        scores_[0], sizeof scores_[0]);
    for (std::size_t first = 0; first < count; first += tile_rows)
      find_maxima(first, first + tile_rows < count ? first + tile_rows : count);
  }

  /// Of rows first .. end - 1 of those at hand, a tile of rows at most.
  void find_maxima(std::size_t first, std::size_t end) {
    const simd lowest = simd::broadcast(-__builtin_inff());
    simd highest[tile_rows];
    for (simd& each : highest) each = lowest;
    for (std::size_t r = first; r < end; ++r) {
      const std::size_t whole = key_counts_[r] / kv_tile_tokens;
      simd best = lowest;
      for (std::size_t tile = 0; tile < whole; ++tile) {
        best = simd::max(simd::load(scores_[r] + tile * kv_tile_tokens), best);
      }
      if (const std::size_t left = keys_left(r, whole); left != 0) {
        const simd last = simd::load(scores_[r] + whole * kv_tile_tokens);
        best = simd::max(simd::first_of(last, left, lowest), best);
      }
      highest[r - first] = best;
    }
    simd::largest_of(highest).store(segment_maximum_ + first);
  }

  void soften(std::size_t count, std::size_t tile_count) {
    for (std::size_t first = 0; first < count; first += tile_rows)
      soften_tile(first, first + tile_rows < count ? first + tile_rows : count, tile_count);
  }

  /// Rows as in find_maxima. Keys that a row does not see weigh nothing.
  void soften_tile(std::size_t first, std::size_t end, std::size_t tile_count) {
    const soft_weigher<simd> weight_at(item_.soft);
    const std::size_t padded = (tile_count + depth_tiles - 1) / depth_tiles * depth_tiles;
    simd sums[tile_rows];
    for (simd& sum : sums) sum = simd::zero();
    for (std::size_t r = first; r < end; ++r) {
      const simd maximum = simd::broadcast(segment_maximum_[r]);
      const auto weight_of = [&](std::size_t tile) {
        return weight_at(simd::load(scores_[r] + tile * kv_tile_tokens) - maximum);
      };
      simd sum = simd::zero();
      const auto put = [&](std::size_t tile, simd weight) {
        weight.store_normal_bf16(weights_ + r * weight_stride + tile * kv_tile_tokens);
        sum = sum + weight;
      };
      const std::size_t whole = key_counts_[r] / kv_tile_tokens;
      std::size_t tile = 0;
      for (; tile < whole; ++tile) put(tile, weight_of(tile));
      if (const std::size_t left = keys_left(r, tile); left != 0) {
        put(tile, simd::first_of(weight_of(tile), left, simd::zero()));
        ++tile;
      }
      for (; tile < padded; ++tile) put(tile, simd::zero());
      sums[r - first] = sum;
    }
    simd::sums_of(sums).store(segment_sum_ + first);
  }

  void weigh(std::size_t count, std::size_t tile_count, float* output) {
    const std::size_t row_bytes =
        item_.head_dim * sizeof(float);  // of V's pairs, and of the output
    multiply_all(
        weights_, weight_stride * sizeof(std::uint16_t), count,
        (tile_count + depth_tiles - 1) / depth_tiles, row_bytes, item_.head_dim / tile_columns,
        [&](std::size_t column, std::size_t step) {
          return values_ + step * tile_depth * item_.head_dim + 2 * column * tile_columns;
        },
        output, row_bytes);
  }

  alignas(64) std::uint16_t query_[rows_max * attention_head_dim_max];  // rows are head_dim apart
  // Of one segment.
  alignas(64) std::uint16_t values_[attention_segment_tokens * attention_head_dim_max];
  // Of the rows at hand and one segment.
  alignas(64) std::uint16_t weights_[rows_together * weight_stride];
};

/// Each position as an item of its own, whose V ends with it.
void run_by_positions(const detail::attention_item& item) {
  for (std::size_t position = 0; position < item.position_count; ++position) {
    detail::attention_item alone = item;
    alone.position_first += position;
    alone.position_count = 1;
    alone.query += position * item.query_stride;
    alone.next = nullptr;
    if (item.partials == nullptr) {
      alone.output += position * item.output_stride;
      pair_attention(alone).run();
      continue;
    }
    for (std::size_t segment = item.segment_first; segment < item.segment_end; ++segment) {
      float partials[rows_max * (2 + attention_head_dim_max)];
      alone.partials = partials;
      alone.segment_first = segment;
      alone.segment_end = segment + 1;
      pair_attention(alone).run();
      copy_rows<simd>(partials_of<simd>(alone, segment), 0, partials_of<simd>(item, segment),
                      position * item.head_count, item.head_count, item.head_dim);
    }
  }
}

}  // namespace

namespace detail {

void attention_item_amx_few_pairs(const attention_item& item) {
  attention_runner<simd, kv_dtype::bf16, true>(item).run();
}

void attention_item_amx_pairs(const attention_item& item) {
  pair_attention attention(item);
  if (attention.shows_what_is_hidden()) return run_by_positions(item);
  attention.run();
}

}  // namespace detail

}  // namespace troupe::kernels
