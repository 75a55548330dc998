#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/attention/attention_item.hpp"
#include "kernels/attention/soft_weight.hpp"
#include "kernels/base/half.hpp"

namespace troupe::kernels::detail {

namespace {

float read_element(kv_dtype type, const std::byte* from) {
  if (type == kv_dtype::f32) {
    float value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  std::uint16_t bits;
  std::memcpy(&bits, from, sizeof bits);
  return type == kv_dtype::f16 ? half_to_float(bits) : bfloat_to_float(bits);
}

void write_element(kv_dtype type, float value, std::byte* to) {
  if (type == kv_dtype::f32) {
    std::memcpy(to, &value, sizeof value);
    return;
  }
  const std::uint16_t bits = type == kv_dtype::f16 ? float_to_half(value) : float_to_bfloat(value);
  std::memcpy(to, &bits, sizeof bits);
}

std::size_t element_bytes(kv_dtype type) {
  switch (type) {
    case kv_dtype::f32: return 4;
    case kv_dtype::int8: return 1;
    default: return 2;
  }
}

struct row_state {
  float maximum = 0.0f;
  float sum = 0.0f;
  float output[attention_head_dim_max] = {};
};

const std::byte* block_of(const attention_cache& cache, std::size_t position) {
  return cache.data + to_index(cache.table[position / cache.block_tokens]) * cache.block_bytes;
}

// Element d of a token's K within its tile, and of its V (attention.hpp).
std::size_t key_index(kv_dtype type, std::size_t token, std::size_t d) {
  if (type == kv_dtype::bf16) return (d / 2 * kv_tile_tokens + token) * 2 + d % 2;
  if (type == kv_dtype::int8) return (d / 4 * kv_tile_tokens + token) * 4 + kv_quad_places[d % 4];
  return d * kv_tile_tokens + token;
}
std::size_t value_index(kv_dtype type, std::size_t head_dim, std::size_t token, std::size_t d) {
  if (type == kv_dtype::bf16) return (token / 2 * head_dim + d) * 2 + token % 2;
  if (type == kv_dtype::int8) return (token / 4 * head_dim + d) * 4 + kv_quad_places[token % 4];
  return token * head_dim + d;
}

/// The head's K tile that holds the position; its V tile is values_offset further.
const std::byte* tile_of(const attention_item& item, std::size_t position) {
  const std::size_t tile = position % item.cache.block_tokens / kv_tile_tokens;
  return block_of(item.cache, position) + tile * item.cache.tile_bytes;
}

const std::byte* key_at(const attention_item& item, std::size_t position, std::size_t d) {
  const std::size_t index = key_index(item.cache.type, position % kv_tile_tokens, d);
  return tile_of(item, position) + index * element_bytes(item.cache.type);
}
float key_element(const attention_item& item, std::size_t position, std::size_t d) {
  return read_element(item.cache.type, key_at(item, position, d));
}

const std::byte* value_at(const attention_item& item, std::size_t position, std::size_t d) {
  const std::size_t index =
      value_index(item.cache.type, item.head_dim, position % kv_tile_tokens, d);
  return tile_of(item, position) + item.cache.values_offset +
         index * element_bytes(item.cache.type);
}
float value_element(const attention_item& item, std::size_t position, std::size_t d) {
  return read_element(item.cache.type, value_at(item, position, d));
}

/// The scale of a token behind the elements of its K or V tile.
float scale_of(const attention_item& item, const std::byte* tile, std::size_t position) {
  float scale;
  std::memcpy(&scale,
              tile + kv_tile_tokens * item.head_dim + position % kv_tile_tokens * sizeof scale,
              sizeof scale);
  return scale;
}

/// Rounds count floats to integers of at most limit; returns the scale (attention.hpp).
float quantize(const float* from, std::size_t count, float limit, std::int16_t* to) {
  // Magnitudes compare as integers, so that a NaN is the largest of all and shows in the scale.
  std::uint32_t largest_bits = 0;
  for (std::size_t i = 0; i < count; ++i) {
    largest_bits = std::max(largest_bits, std::bit_cast<std::uint32_t>(from[i]) & 0x7FFFFFFFu);
  }
  const float largest = std::bit_cast<float>(largest_bits);
  const float inverse = limit / largest;
  const bool is_usable = inverse > 0.0f && inverse <= std::numeric_limits<float>::max();
  for (std::size_t i = 0; i < count; ++i) {
    to[i] =
        is_usable ? static_cast<std::int16_t>(std::nearbyint(from[i] * inverse)) : std::int16_t{0};
  }
  return largest / limit;
}

/// soft_weight.hpp, step by step.
float soft_weight(const soft_scale& scale, float difference) {
  namespace k = soft_weight_constants;
  if (difference < scale.difference_min) return 0.0f;
  if (std::isnan(difference)) return difference;
  const float n = std::fma(difference, scale.exponent_factor, k::rounder) - k::rounder;
  const float r = std::fma(difference, scale.exponent_factor, -n);
  float p = k::c5;
  for (const float c : {k::c4, k::c3, k::c2, k::c1, 1.0f}) p = std::fma(p, r, c);
  return std::ldexp(p, static_cast<int>(n));
}

float flushed(float x) {
  return std::abs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x;
}

/// One product of a pair of bf16 values: denormals are taken as zero.
float add_product(float sum, float a, float b) {
  return flushed(std::fma(flushed(a), flushed(b), sum));
}

/// Products as tiles add them: of each 32 the even and the odd ones ascend apart, from zero.
template <class Left, class Right>
float sum_in_tiles(std::size_t count, const Left& left, const Right& right) {
  constexpr std::size_t depth = attention_head_dim_step_amx_pairs;
  float sum = 0.0f;
  for (std::size_t first = 0; first < count; first += depth) {
    float sums[2] = {0.0f, 0.0f};
    for (std::size_t i = first; i < std::min(count, first + depth); ++i) {
      sums[i % 2] = add_product(sums[i % 2], left(i), right(i));
    }
    sum = flushed(sum + flushed(sums[0] + sums[1]));
  }
  return sum;
}

float dot_key(const attention_item& item, const float* query, std::size_t position, bool in_tiles) {
  float dot = 0.0f;
  if (item.cache.type != kv_dtype::bf16) {
    for (std::size_t d = 0; d < item.head_dim; ++d) {
      dot = std::fma(query[d], key_element(item, position, d), dot);
    }
    return dot;
  }
  const auto rounded = [&](std::size_t d) {
    return bfloat_to_float(float_to_bfloat(in_tiles ? flushed(query[d]) : query[d]));
  };
  if (in_tiles) {
    return sum_in_tiles(item.head_dim, rounded,
                        [&](std::size_t d) { return key_element(item, position, d); });
  }
  for (std::size_t d = 0; d < item.head_dim; d += 2) {
    dot = add_product(dot, rounded(d + 1), key_element(item, position, d + 1));
    dot = add_product(dot, rounded(d), key_element(item, position, d));
  }
  return dot;
}

float score_bytes(const attention_item& item, const float* query, std::size_t position) {
  std::int16_t words[attention_head_dim_max];
  const float query_scale = quantize(query, item.head_dim, attention_word_max, words);
  std::int32_t dot = 0;
  for (std::size_t d = 0; d < item.head_dim; ++d) {
    dot += words[d] * std::to_integer<std::int8_t>(*key_at(item, position, d));
  }
  const float key_scale = scale_of(item, tile_of(item, position), position);
  return static_cast<float>(dot) * (key_scale * query_scale);
}

float score_of(const attention_item& item, const float* query, std::size_t position,
               bool in_tiles) {
  if (item.cache.type == kv_dtype::int8) return score_bytes(item, query, position);
  return dot_key(item, query, position, in_tiles);
}

/// The weighted sums over keys first .. end - 1 of a segment; weights is used up.
void weigh_bytes(const attention_item& item, float* weights, std::size_t first, std::size_t end,
                 float* output) {
  for (std::size_t k = first; k < end; ++k) {
    const std::byte* tile = tile_of(item, k) + item.cache.values_offset;
    weights[k - first] *= scale_of(item, tile, k);
  }
  std::int16_t words[attention_segment_tokens];
  const float scale = quantize(weights, end - first, attention_word_max, words);
  for (std::size_t d = 0; d < item.head_dim; ++d) {
    std::int32_t sum = 0;
    for (std::size_t k = first; k < end; ++k) {
      sum += words[k - first] * std::to_integer<std::int8_t>(*value_at(item, k, d));
    }
    output[d] = static_cast<float>(sum) * scale;
  }
}

/// The sum over keys first .. end - 1 of weights[key - first] * V[key][d]; first begins a segment.
float weighted_value(const attention_item& item, const float* weights, std::size_t first,
                     std::size_t end, std::size_t d, bool in_tiles) {
  float sum = 0.0f;
  if (item.cache.type != kv_dtype::bf16) {
    for (std::size_t k = first; k < end; ++k) {
      sum = std::fma(weights[k - first], value_element(item, k, d), sum);
    }
    return sum;
  }
  if (in_tiles) {
    return sum_in_tiles(
        end - first, [&](std::size_t i) { return weights[i]; },
        [&](std::size_t i) { return value_element(item, first + i, d); });
  }
  for (std::size_t k = first; k < end; k += 2) {
    const bool has_second = k + 1 < end;
    sum = add_product(sum, has_second ? weights[k + 1 - first] : 0.0f,
                      has_second ? value_element(item, k + 1, d) : 0.0f);
    sum = add_product(sum, weights[k - first], value_element(item, k, d));
  }
  return sum;
}

/// Softmax numerators and weighted values of one row over keys first .. end - 1 of one segment.
row_state run_segment(const attention_item& item, const float* query, std::size_t first,
                      std::size_t end, bool in_tiles) {
  float scores[attention_segment_tokens];
  row_state out;
  out.maximum = -std::numeric_limits<float>::infinity();
  for (std::size_t k = first; k < end; ++k) {
    const float score = score_of(item, query, k, in_tiles);
    scores[k - first] = score;
    out.maximum = score > out.maximum ? score : out.maximum;
  }
  float lanes[16] = {};
  for (std::size_t k = 0; k < end - first; ++k) {
    scores[k] = soft_weight(item.soft, scores[k] - out.maximum);
    lanes[k % 16] += scores[k];
    if (item.cache.type == kv_dtype::bf16) scores[k] = bfloat_to_float(float_to_bfloat(scores[k]));
  }
  for (std::size_t half = 8; half >= 1; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  out.sum = lanes[0];
  if (item.cache.type == kv_dtype::int8) {
    weigh_bytes(item, scores, first, end, out.output);
    return out;
  }
  for (std::size_t d = 0; d < item.head_dim; ++d) {
    out.output[d] = weighted_value(item, scores, first, end, d, in_tiles);
  }
  return out;
}

template <class Index>
void write_bytes(const kv_row_target& target, const float* from, std::byte* tile,
                 const Index& index_of) {
  std::int16_t words[attention_head_dim_max];
  const float scale = quantize(from, target.head_dim, kv_byte_max, words);
  for (std::size_t d = 0; d < target.head_dim; ++d) {
    tile[index_of(d)] = static_cast<std::byte>(words[d]);
  }
  std::memcpy(tile + kv_tile_tokens * target.head_dim + target.token * sizeof scale, &scale,
              sizeof scale);
}

void merge_segment(row_state& state, const row_state& next, const attention_item& item) {
  const float maximum = next.maximum > state.maximum ? next.maximum : state.maximum;
  const float scale_state = soft_weight(item.soft, state.maximum - maximum);
  const float scale_next = soft_weight(item.soft, next.maximum - maximum);
  state.maximum = maximum;
  state.sum = std::fma(next.sum, scale_next, state.sum * scale_state);
  for (std::size_t d = 0; d < item.head_dim; ++d) {
    state.output[d] = std::fma(next.output[d], scale_next, state.output[d] * scale_state);
  }
}

void finish(const attention_item& item, std::size_t row, const row_state& state) {
  float* output = item.output + row / item.head_count * item.output_stride +
                  row % item.head_count * item.head_dim;
  const float inverse = 1.0f / state.sum;
  for (std::size_t d = 0; d < item.head_dim; ++d) {
    output[d] = std::fma(state.output[d], inverse, 0.0f);  // zeros lose their sign
  }
}

/// in_tiles: sums of bf16 products in the order of AMX's tiles.
void run_item(const attention_item& item, bool in_tiles) {
  const std::size_t rows = item.position_count * item.head_count;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t position = item.position_first + row / item.head_count;
    const float* query = item.query + row / item.head_count * item.query_stride +
                         row % item.head_count * item.head_dim;
    row_state state{};
    for (std::size_t segment = item.segment_first; segment < item.segment_end; ++segment) {
      const std::size_t first = segment * attention_segment_tokens;
      const std::size_t end = std::min(first + attention_segment_tokens, position + 1);
      const row_state next = run_segment(item, query, first, end, in_tiles);
      if (item.partials != nullptr) {
        float* partial =
            item.partials + (segment - item.segment_first) * rows * (2 + item.head_dim);
        partial[row] = next.maximum;
        partial[rows + row] = next.sum;
        std::copy_n(next.output, item.head_dim, partial + 2 * rows + row * item.head_dim);
      } else if (segment == item.segment_first) {
        state = next;
      } else {
        merge_segment(state, next, item);
      }
    }
    if (item.partials == nullptr) finish(item, row, state);
  }
}

}  // namespace

void attention_item_ref(const attention_item& item) {
  run_item(item, false);
}

void attention_item_pairs_ref(const attention_item& item) {
  run_item(item, true);
}

void attention_merge_ref(const attention_item& item) {
  const std::size_t rows = item.position_count * item.head_count;
  for (std::size_t row = 0; row < rows; ++row) {
    row_state state{};
    for (std::size_t segment = item.segment_first; segment < item.segment_end; ++segment) {
      const float* partial =
          item.partials + (segment - item.segment_first) * rows * (2 + item.head_dim);
      row_state next;
      next.maximum = partial[row];
      next.sum = partial[rows + row];
      std::copy_n(partial + 2 * rows + row * item.head_dim, item.head_dim, next.output);
      if (segment == item.segment_first) {
        state = next;
      } else {
        merge_segment(state, next, item);
      }
    }
    finish(item, row, state);
  }
}

void write_kv_head_ref(const kv_row_target& target, const float* k, const float* v) {
  const auto write = [&](const float* from, std::byte* tile, const auto& index_of) {
    if (from == nullptr) return;
    if (target.type == kv_dtype::int8) return write_bytes(target, from, tile, index_of);
    for (std::size_t d = 0; d < target.head_dim; ++d) {
      write_element(target.type, from[d], tile + index_of(d) * element_bytes(target.type));
    }
  };
  write(k, target.keys, [&](std::size_t d) { return key_index(target.type, target.token, d); });
  write(v, target.values,
        [&](std::size_t d) { return value_index(target.type, target.head_dim, target.token, d); });
}

}  // namespace troupe::kernels::detail
