// Attention of many query rows over an int8 cache, on AMX's integer tiles. A K tile is a right
// factor as it stands (rows of 4 d, 16 keys across), and four V tiles are one when they follow each
// other (rows of 4 tokens, 16 channels across). Queries and softmax weights are 16-bit words; their
// high and low bytes are two left factors, and the exact sums are put together afterwards: the bits
// of every other variant. What is left to do per key, the softmax, takes vectors longer than the
// products take tiles.
#include "kernels/base/simd_avx512.hpp"
// The vector type comes first: the templates below find its functions in it.
#include "kernels/attention/attention_amx.hpp"
#include "kernels/attention/attention_bytes.hpp"

namespace troupe::kernels {

namespace {

/// Of a left factor's row, and of a right factor's column: d, or keys.
constexpr std::size_t tile_depth = 64;
/// Key tiles that the depth of one product takes.
constexpr std::size_t depth_tiles = tile_depth / kv_tile_tokens;

/// 16 rows of 16-bit words as two left factors.
template <std::size_t Length>
struct alignas(64) split_words {
  std::byte high[tile_rows * Length];  // with signs
  std::byte low[tile_rows * Length];   // without
};

struct alignas(64) tile_sums {
  std::int32_t high[tile_rows][tile_columns];
  std::int32_t low[tile_rows][tile_columns];

  /// One row, as floats.
  [[nodiscard]] simd row(std::size_t r) const {
    const __m512i upper = _mm512_slli_epi32(_mm512_load_si512(high[r]), 8);
    return {_mm512_cvtepi32_ps(_mm512_add_epi32(upper, _mm512_load_si512(low[r])))};
  }
};

/// Two tiles' worth of right factors: `steps` times 16 rows that are row_bytes apart.
struct right_factors {
  const std::byte* columns[2];  // each of 16
  std::size_t step_bytes;
  std::size_t row_bytes;
};

/// sums[column] = left rows times right columns, over steps x 64 of depth. Sums in tiles 0 to 3,
/// the left factor in 4 and 5, the right in 6 and 7. Both are read again only after as much as L1
/// holds: they pass it by.
void multiply(const std::byte* high, const std::byte* low, std::size_t left_row_bytes,
              const right_factors& right, std::size_t steps, tile_sums* sums) {
  zero_tile<0>();
  zero_tile<1>();
  zero_tile<2>();
  zero_tile<3>();
  for (std::size_t step = 0; step < steps; ++step) {
    load_passing_tile<4>(high + step * tile_depth, left_row_bytes);
    load_passing_tile<6>(right.columns[0] + step * right.step_bytes, right.row_bytes);
    multiply_byte_tiles<0, 4, 6>();
    load_passing_tile<5>(low + step * tile_depth, left_row_bytes);
    multiply_unsigned_byte_tiles<1, 5, 6>();
    load_passing_tile<7>(right.columns[1] + step * right.step_bytes, right.row_bytes);
    multiply_byte_tiles<2, 4, 7>();
    multiply_unsigned_byte_tiles<3, 5, 7>();
  }
  store_tile<0>(sums[0].high, 64);
  store_tile<1>(sums[0].low, 64);
  store_tile<2>(sums[1].high, 64);
  store_tile<3>(sums[1].low, 64);
}

/// 64 words, 16 in each vector as 32-bit integers, to 64 high and 64 low bytes, in the cache's
/// order of quads.
void split(const __m512i (&words)[4], std::byte* high, std::byte* low) {
  // Packing leaves words 16 v + 4 l + i at place 16 l + 4 v + i.
  alignas(64) static constexpr auto order = [] {
    struct {
      std::uint8_t from[64];
    } made{};
    for (std::size_t i = 0; i < 64; ++i) {
      const std::size_t word = i / 4 * 4 + detail::kv_quad_places[i % 4];  // its own inverse
      made.from[i] = static_cast<std::uint8_t>(word / 4 % 4 * 16 + word / 16 * 4 + word % 4);
    }
    return made;
  }();
  const __m512i places = _mm512_load_si512(order.from);
  const __m512i first = _mm512_packs_epi32(words[0], words[1]);
  const __m512i second = _mm512_packs_epi32(words[2], words[3]);
  const __m512i byte = _mm512_set1_epi16(0xFF);
  const __m512i upper =
      _mm512_packs_epi16(_mm512_srai_epi16(first, 8), _mm512_srai_epi16(second, 8));
  const __m512i lower =
      _mm512_packus_epi16(_mm512_and_si512(first, byte), _mm512_and_si512(second, byte));
  _mm512_store_si512(high, _mm512_permutexvar_epi8(places, upper));
  _mm512_store_si512(low, _mm512_permutexvar_epi8(places, lower));
}

word_scale<simd> scale_of(simd magnitudes) {
  return {magnitudes.largest_magnitude(), detail::attention_word_max};
}

/// 64 floats times factor, rounded. A factor of zero makes zeros of everything.
inline __attribute__((always_inline)) void split_floats(const float* from, float factor,
                                                        std::byte* high, std::byte* low) {
  __m512i words[4];
  const __mmask16 usable = factor == 0.0f ? 0 : 0xFFFF;
  for (std::size_t i = 0; i < 4; ++i) {
    const __m512 scaled = _mm512_maskz_mul_ps(usable, _mm512_loadu_ps(from + i * simd::width),
                                              _mm512_set1_ps(factor));
    words[i] = _mm512_cvtps_epi32(scaled);
  }
  split(words, high, low);
}

class byte_attention : public tile_attention<byte_attention, tile_rows> {
 public:
  using tile_attention::tile_attention;

 private:
  friend tile_attention;

  static tile_shapes shapes() {
    tile_shapes whole;
    for (std::size_t i = 0; i < 8; ++i) whole.set(i, tile_rows, tile_row_bytes);
    return whole;
  }

  /// A pass over all rows at a time, as in run_rows.
  void pack_query() {
    simd magnitudes[rows_max];
    word_scale<simd> scales[rows_max];
    for (std::size_t row = 0; row < row_count_; ++row) {
      const float* const from = queries_[row];
      simd highest = simd::zero();
      for (std::size_t d = 0; d < item_.head_dim; d += simd::width) {
        highest = simd::larger_magnitude(highest, simd::load(from + d));
      }
      magnitudes[row] = highest;
    }
    for (std::size_t row = 0; row < row_count_; ++row) {
      scales[row] = scale_of(magnitudes[row]);
      factors_[row] = scales[row].scale;
    }
    for (std::size_t row = 0; row < row_count_; ++row) {
      auto& to = query_[row / tile_rows];
      const std::size_t offset = row % tile_rows * item_.head_dim;
      const float* const from = queries_[row];
      for (std::size_t d = 0; d < item_.head_dim; d += tile_depth) {
        split_floats(from + d, scales[row].factor, to.high + offset + d, to.low + offset + d);
      }
    }
  }

  /// Finds the segment's tiles and copies its V, so that the tiles follow each other, and scales.
  void load_segment(std::size_t segment) {
    const std::size_t tile_count = tiles_in<simd>(item_, segment);
    find_keys<simd>(item_, segment, tile_count, keys_);
    keys_[tile_count] = keys_[0];  // an odd tile's partner in a product
    const std::size_t bytes = kv_tile_tokens * item_.head_dim;
    for (std::size_t tile = 0; tile < tile_count; ++tile) {
      const std::byte* const from = keys_[tile] + item_.cache.values_offset;
      std::byte* const to = values_ + tile * bytes;
      for (std::size_t i = 0; i < bytes; i += 64) {
        _mm512_store_si512(to + i, _mm512_loadu_si512(from + i));
      }
      simd::load(tile_scales<simd>(keys_[tile], item_.head_dim))
          .store(key_scales_ + tile * kv_tile_tokens);
      simd::load(tile_scales<simd>(from, item_.head_dim))
          .store(value_scales_ + tile * kv_tile_tokens);
    }
  }

  /// The scores of all keys in the tiles, -inf where a row does not see them, and their maxima.
  /// Tiles multiply one chunk while vectors turn the sums of the chunk before into scores.
  void score(std::size_t row, std::size_t count, std::size_t tile_count) {
    for (simd& highest : highest_) highest = simd::broadcast(-__builtin_inff());
    multiply_keys(row, 0, tile_count);
    for (std::size_t tile = 0; tile < tile_count; tile += depth_tiles) {
      if (tile + depth_tiles < tile_count) multiply_keys(row, tile + depth_tiles, tile_count);
      scale_scores(row, count, tile, tile_count);
    }
    simd::largest_of(highest_).store(segment_maximum_);
  }

  tile_sums* sums_of_chunk(std::size_t tile) { return sums_ + tile % (2 * depth_tiles); }

  /// The chunk of keys that begins at the tile.
  void multiply_keys(std::size_t row, std::size_t tile, std::size_t tile_count) {
    const auto& query = query_[row / tile_rows];
    right_factors right{{}, tile_depth * kv_tile_tokens, kv_quads_bytes};
    for (std::size_t t = 0; t < depth_tiles && tile + t < tile_count; t += 2) {
      right.columns[0] = keys_[tile + t];
      right.columns[1] = keys_[tile + t + 1];
      multiply(query.high, query.low, item_.head_dim, right, item_.head_dim / tile_depth,
               sums_of_chunk(tile) + t);
    }
  }

  void scale_scores(std::size_t row, std::size_t count, std::size_t tile, std::size_t tile_count) {
    const tile_sums* const sums = sums_of_chunk(tile);
    const std::size_t key = tile * kv_tile_tokens;
    const float* const scales = key_scales_ + key;
    for (std::size_t r = 0; r < count; ++r) {
      const simd factor = simd::broadcast(factors_[row + r]);
      float* const to = scores_[r] + key;
      const auto scaled = [&](std::size_t t) {
        return sums[t].row(r) * (simd::load(scales + t * kv_tile_tokens) * factor);
      };
      if (key_counts_[r] >= key + tile_depth) {
        simd highest = highest_[r];
#pragma GCC unroll 4
        for (std::size_t t = 0; t < depth_tiles; ++t) {
          const simd x = scaled(t);
          x.store(to + t * kv_tile_tokens);
          highest = simd::max(x, highest);
        }
        highest_[r] = highest;
        continue;
      }
      for (std::size_t t = 0; t < depth_tiles && tile + t < tile_count; ++t) {
        const simd x =
            simd::first_of(scaled(t), keys_left(r, tile + t), simd::broadcast(-__builtin_inff()));
        x.store(to + t * kv_tile_tokens);
        highest_[r] = simd::max(x, highest_[r]);
      }
    }
  }

  /// The rows' softmax, and its weights times the scales of V as words.
  void soften(std::size_t count, std::size_t tile_count) {
    const std::size_t step_count = (tile_count + depth_tiles - 1) / depth_tiles;
    simd magnitudes[tile_rows], sums[tile_rows];
    for (simd& sum : sums) sum = simd::zero();
    for (std::size_t r = 0; r < count; ++r) {
      magnitudes[r] = soften_row(r, step_count * depth_tiles, sums[r]);
    }
    simd::sums_of(sums).store(segment_sum_);
    for (std::size_t r = 0; r < count; ++r) word_scales_[r] = scale_of(magnitudes[r]);
    for (std::size_t r = 0; r < count; ++r) {
      for (std::size_t step = 0; step < step_count; ++step) {
        const std::size_t at = r * attention_segment_tokens + step * tile_depth;
        split_floats(scores_[r] + step * tile_depth, word_scales_[r].factor, weights_.high + at,
                     weights_.low + at);
      }
    }
  }

  simd soften_row(std::size_t r, std::size_t tile_count, simd& sum) {
    const soft_weigher<simd> weight_at(item_.soft);
    const simd maximum = simd::broadcast(segment_maximum_[r]);
    simd magnitudes = simd::zero();
    const std::size_t whole = key_counts_[r] / kv_tile_tokens;
    std::size_t tile = 0;
    for (; tile < whole; ++tile) {
      float* const at = scores_[r] + tile * kv_tile_tokens;
      const simd weight = weight_at(simd::load(at) - maximum);
      sum = sum + weight;
      const simd scaled = weight * simd::load(value_scales_ + tile * kv_tile_tokens);
      magnitudes = simd::larger_magnitude(magnitudes, scaled);
      scaled.store(at);
    }
    for (; tile < tile_count; ++tile) {  // what is not visible may have any scale
      float* const at = scores_[r] + tile * kv_tile_tokens;
      const std::size_t left = keys_left(r, tile);
      simd scaled = simd::zero();
      if (left != 0) {
        const simd weight = weight_at(simd::load(at) - maximum);
        sum = sum + weight;
        scaled = simd::first_of(weight * simd::load(value_scales_ + tile * kv_tile_tokens), left,
                                scaled);
      }
      magnitudes = simd::larger_magnitude(magnitudes, scaled);
      scaled.store(at);
    }
    return magnitudes;
  }

  /// output[r][d] = scale of row r times (weights of row r times V). Tiles multiply 32 channels
  /// while vectors finish the 32 before.
  void weigh(std::size_t count, std::size_t tile_count, float* output) {
    multiply_values(0, tile_count);
    for (std::size_t d = 0; d < item_.head_dim; d += channels_together) {
      if (d + channels_together < item_.head_dim) {
        multiply_values(d + channels_together, tile_count);
      }
      const tile_sums* const sums = sums_of_channels(d);
      for (std::size_t r = 0; r < count; ++r) {
        const simd scale = simd::broadcast(word_scales_[r].scale);
        float* const to = output + r * item_.head_dim + d;
        (sums[0].row(r) * scale).store(to);
        (sums[1].row(r) * scale).store(to + tile_columns);
      }
    }
  }

  tile_sums* sums_of_channels(std::size_t d) {
    return sums_ + d / tile_columns % 4;
  }

  void multiply_values(std::size_t d, std::size_t tile_count) {
    const std::size_t row_bytes = 4 * item_.head_dim;
    const std::byte* const first = values_ + 4 * d;
    const right_factors right{
        {first, first + 4 * tile_columns}, tile_depth / 4 * row_bytes, row_bytes};
    multiply(weights_.high, weights_.low, attention_segment_tokens, right,
             (tile_count + depth_tiles - 1) / depth_tiles, sums_of_channels(d));
  }

  static constexpr std::size_t channels_together = 2 * tile_columns;

  split_words<attention_head_dim_max> query_[rows_max / tile_rows];  // rows are head_dim apart
  float factors_[rows_max];                                          // the queries' scales
  // Of one segment.
  alignas(64) float key_scales_[attention_segment_tokens];
  alignas(64) float value_scales_[attention_segment_tokens];
  alignas(64) std::byte values_[attention_segment_tokens * attention_head_dim_max];
  // Of 16 rows and one segment.
  tile_sums sums_[2 * depth_tiles];
  simd highest_[tile_rows];
  split_words<attention_segment_tokens> weights_;
  word_scale<simd> word_scales_[tile_rows];
};

}  // namespace

namespace detail {

void attention_item_amx_bytes(const attention_item& item) {
  byte_attention(item).run();
}

}  // namespace detail

}  // namespace troupe::kernels
