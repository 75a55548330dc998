#include "runtime/model/forward.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "kernels/rms_norm/rms_norm.hpp"
#include "kernels/rope/rope.hpp"
#include "kernels/silu_mul/silu_mul.hpp"

namespace troupe {

namespace {

/// Rows of activations as the linear layers that read them want them.
struct activations {
  aligned_buffer<float> floats;
  kernels::quantized_rows quantized;
  std::size_t width = 0;
  bool wants_floats = false;
  bool wants_quantized = false;

  void add_reader(const kernels::packed_matrix& weight) {
    (weight.wants_quantized() ? wants_quantized : wants_floats) = true;
  }
  void resize(isa set, std::size_t row_count) {
    if (wants_floats) floats.reserve_discarding(row_count * width);
    if (wants_quantized) quantized.resize(set, row_count, width);
  }
  float* row(std::size_t index) { return floats.data() + index * width; }
  /// Takes columns first .. first + count - 1 of a row from elsewhere. They begin with a group, and
  /// end with one or with the row.
  void put(isa set, std::size_t index, std::size_t first, std::size_t count, const float* from) {
    if (wants_floats) std::copy_n(from, count, row(index) + first);
    if (wants_quantized) kernels::quantize_columns(set, from, index, first, count, quantized);
  }
  /// Quantizes columns first .. first + count - 1 of a row's floats, as put() does with others.
  void quantize(isa set, std::size_t index, std::size_t first, std::size_t count) {
    kernels::quantize_columns(set, row(index) + first, index, first, count, quantized);
  }
};

/// A row's place in its sequence.
struct row_place {
  const forward_slice* slice = nullptr;
  std::size_t position = 0;
};

}  // namespace

struct forward_pass::state {
  const model_description& model;
  const model_weights& weights;
  kv_cache& cache;
  thread_pool& pool;
  isa set;
  std::size_t tokens_max;

  std::size_t query_width;

  std::vector<row_place> places;                 // of every row of the step
  std::vector<std::size_t> wanted;               // rows whose logits are asked for, ascending
  std::vector<kernels::attention_slice> slices;  // all rows
  std::vector<kernels::attention_slice> wanted_slices;  // the wanted rows only
  aligned_buffer<float> hidden;                         // [row][hidden_size], the residual stream
  std::size_t thread_row_stride;
  aligned_buffer<float> thread_rows;     // [thread][hidden_size], one cache line more between them
  aligned_buffer<float> query;           // [row][head][head_dim]
  aligned_buffer<float> cosines, sines;  // [row][pair]
  aligned_buffer<float> logits;          // [wanted row][vocab_size]
  activations normed;                    // input of Q, K, V; of gate and up; of the head
  activations attended;                  // input of the output projection
  activations gated;                     // input of down

  state(const model_description& m, const model_weights& w, kv_cache& c, thread_pool& p, isa s,
        std::size_t tokens);
  void place_rows(std::span<const forward_slice> step);
  void make_room(std::size_t row_count);
  template <class Body>
  void for_rows(std::size_t row_count, const Body& body);
  void embed(std::size_t row_count);
  void norm_rows(std::size_t row_count, std::span<const float> weight);
  void turn_heads(float* heads, std::size_t count, std::size_t row,
                  const aligned_buffer<float>& norm);
  void make_qkv(const layer_weights& layer, kernels::kv_layer kv, std::size_t row_count);
  [[nodiscard]] bool attention_quantizes(bool is_last) const;
  void quantize_attended(std::size_t row_count);
  void attend(kernels::kv_layer kv, bool is_last);
  void keep_wanted_rows();
  void add_to_hidden(const kernels::packed_matrix& weight, const activations& input,
                     std::size_t row_count);
  void finish_layer(const layer_weights& layer, std::size_t row_count);
  void make_gated(const layer_weights& layer, std::size_t row_count);
  std::span<const float> make_logits();
};

namespace {

/// Its outputs are for the epilogue only.
kernels::matmul_job job_of(const kernels::packed_matrix& weight, const activations& input,
                           const aligned_buffer<float>* bias = nullptr) {
  return {.weight = &weight,
          .quantized = &input.quantized,
          .floats = input.floats.data(),
          .floats_stride = input.width,
          .bias = bias != nullptr && bias->size() != 0 ? bias->data() : nullptr};
}

}  // namespace

forward_pass::state::state(const model_description& m, const model_weights& w, kv_cache& c,
                           thread_pool& p, isa s, std::size_t tokens)
    : model(m), weights(w), cache(c), pool(p), set(s), tokens_max(tokens) {
  TROUPE_CHECK(weights.instruction_set() == set);
  TROUPE_CHECK(weights.layer_count() == model.layer_count);
  TROUPE_CHECK(cache.layer_count() == model.layer_count);
  TROUPE_CHECK(cache.layout().kv_head_count == model.kv_head_count);
  TROUPE_CHECK(cache.layout().head_dim == model.head_dim);
  TROUPE_CHECK(model.rope.frequencies.size() * 2 <= model.head_dim);
  query_width = model.head_count * model.head_dim;
  normed.width = model.hidden_size;
  attended.width = query_width;
  gated.width = model.intermediate_size;
  normed.add_reader(weights.head());
  for (std::size_t i = 0; i < weights.layer_count(); ++i) {
    const layer_weights& layer = weights.layer(i);
    for (const auto* matrix : {&layer.query, &layer.key, &layer.value, &layer.gate, &layer.up})
      normed.add_reader(*matrix);
    attended.add_reader(layer.output);
    gated.add_reader(layer.down);
  }
  attended.wants_floats = true;  // attention writes them
  thread_row_stride = model.hidden_size + 16;
  thread_rows = aligned_buffer<float>(pool.thread_count() * thread_row_stride);
}

/// Lists the step's rows, and those whose logits are wanted, and checks everything that kernels
/// rely on.
void forward_pass::state::place_rows(std::span<const forward_slice> step) {
  const std::size_t block_tokens = cache.layout().block_tokens;
  places.clear();
  wanted.clear();
  slices.clear();
  wanted_slices.clear();
  for (const forward_slice& slice : step) {
    const std::size_t count = slice.tokens.size();
    const std::size_t end = slice.position_first + count;
    const std::size_t blocks = (end + block_tokens - 1) / block_tokens;
    TROUPE_CHECK(count > 0 && blocks <= slice.block_table.size());
    for (block_index block : slice.block_table.first(blocks)) {
      TROUPE_CHECK(to_index(block) < cache.block_count());
    }
    kernels::attention_slice rows{.row_first = places.size(),
                                  .row_count = count,
                                  .position_first = slice.position_first,
                                  .block_table = slice.block_table};
    slices.push_back(rows);
    for (std::size_t i = 0; i < count; ++i) places.push_back({&slice, slice.position_first + i});
    if (slice.want == forward_slice::logits::none) continue;
    if (slice.want == forward_slice::logits::last) {
      rows.row_first += count - 1;
      rows.position_first += count - 1;
      rows.row_count = 1;
    }
    wanted_slices.push_back(rows);
    for (std::size_t i = 0; i < rows.row_count; ++i) wanted.push_back(rows.row_first + i);
  }
  TROUPE_CHECK_MESSAGE(places.size() <= tokens_max,
                       fmt::format("a step of {} tokens; at most {}", places.size(), tokens_max));
}

void forward_pass::state::make_room(std::size_t row_count) {
  hidden.reserve_discarding(row_count * model.hidden_size);
  query.reserve_discarding(row_count * query_width);
  cosines.reserve_discarding(row_count * model.rope.frequencies.size());
  sines.reserve_discarding(row_count * model.rope.frequencies.size());
  logits.reserve_discarding(wanted.size() * model.vocab_size);
  normed.resize(set, row_count);
  attended.resize(set, row_count);
  gated.resize(set, row_count);
}

/// Some rows to a task: whole parts of quantized_rows, so that threads do not share cache lines,
/// and enough of them to outweigh claiming the task (a row takes some 0.3 us).
template <class Body>
void forward_pass::state::for_rows(std::size_t row_count, const Body& body) {
  constexpr std::size_t part = kernels::part_rows;
  const std::size_t share = (row_count + 4 * pool.thread_count() - 1) / (4 * pool.thread_count());
  const std::size_t rows_per_task = (std::min<std::size_t>(share, 32) + part - 1) / part * part;
  const std::size_t tasks = (row_count + rows_per_task - 1) / rows_per_task;
  pool.parallel_for(tasks, [&](std::size_t task, std::size_t thread) {
    const std::size_t end = std::min(row_count, (task + 1) * rows_per_task);
    for (std::size_t row = task * rows_per_task; row < end; ++row) body(row, thread);
  });
}

void forward_pass::state::embed(std::size_t row_count) {
  const std::size_t pairs = model.rope.frequencies.size();
  for_rows(row_count, [&](std::size_t row, std::size_t) {
    const row_place& place = places[row];
    const token_id token = place.slice->tokens[place.position - place.slice->position_first];
    weights.read_embedding(token, {hidden.data() + row * model.hidden_size, model.hidden_size});
    kernels::rope_table_row(model.rope.frequencies, place.position,
                            static_cast<double>(model.rope.attention_factor),
                            cosines.data() + row * pairs, sines.data() + row * pairs);
  });
}

void forward_pass::state::norm_rows(std::size_t row_count, std::span<const float> weight) {
  const std::size_t width = model.hidden_size;
  for_rows(row_count, [&](std::size_t row, std::size_t thread) {
    float* const y = thread_rows.data() + thread * thread_row_stride;
    kernels::rms_norm(set, {.x = hidden.data() + row * width,
                            .weight = weight.data(),
                            .epsilon = model.rms_epsilon,
                            .count = width,
                            .y = y});
    normed.put(set, row, 0, width, y);
  });
}

/// Q/K norm and RoPE of some heads of one row, which lie at head_dim from each other.
void forward_pass::state::turn_heads(float* heads, std::size_t count, std::size_t row,
                                     const aligned_buffer<float>& norm) {
  if (model.has_qk_norm) {
    for (std::size_t head = 0; head < count; ++head) {
      float* const elements = heads + head * model.head_dim;
      kernels::rms_norm(set, {.x = elements,
                              .weight = norm.data(),
                              .epsilon = model.rms_epsilon,
                              .count = model.head_dim,
                              .y = elements});
    }
  }
  const std::size_t pairs = model.rope.frequencies.size();
  kernels::rope(set, {.heads = heads,
                      .head_count = count,
                      .head_stride = model.head_dim,
                      .pair_count = pairs,
                      .cosines = cosines.data() + row * pairs,
                      .sines = sines.data() + row * pairs,
                      .interleaved = model.rope.pairing == rope_pairing::interleaved});
}

/// Q, K and V; each range of whole heads is normed, turned and written to the cache by the thread
/// that made it.
void forward_pass::state::make_qkv(const layer_weights& layer, kernels::kv_layer kv,
                                   std::size_t row_count) {
  kernels::matmul_job query_job = job_of(layer.query, normed, &layer.query_bias);
  query_job.output = query.data();
  query_job.output_stride = query_width;
  const kernels::matmul_job key_job = job_of(layer.key, normed, &layer.key_bias);
  const kernels::matmul_job value_job = job_of(layer.value, normed, &layer.value_bias);

  const auto for_made_rows = [&](const kernels::output_range& range, const auto& body) {
    const std::size_t head = range.output_first / model.head_dim;
    const std::size_t count = range.output_count / model.head_dim;
    for (std::size_t i = 0; i < range.row_count; ++i)
      body(range.row_first + i, head, count, range.made[0].row(i));
  };
  const auto turn_query = [&](const kernels::output_range& range) {
    for_made_rows(range, [&](std::size_t row, std::size_t, std::size_t count, float* heads) {
      turn_heads(heads, count, row, layer.query_norm);
    });
  };
  const auto write = [&](std::size_t row, std::size_t head, const float* k, const float* v) {
    kernels::write_kv_head(set, cache.layout(), kv, places[row].slice->block_table,
                           places[row].position, head, k, v);
  };
  const auto keep_keys = [&](const kernels::output_range& range) {
    for_made_rows(range, [&](std::size_t row, std::size_t head, std::size_t count, float* keys) {
      turn_heads(keys, count, row, layer.key_norm);
      for (std::size_t i = 0; i < count; ++i)
        write(row, head + i, keys + i * model.head_dim, nullptr);
    });
  };
  const auto keep_values = [&](const kernels::output_range& range) {
    for_made_rows(range, [&](std::size_t row, std::size_t head, std::size_t count, float* values) {
      for (std::size_t i = 0; i < count; ++i)
        write(row, head + i, nullptr, values + i * model.head_dim);
    });
  };
  using kernels::matmul_epilogue;
  const kernels::matmul_set sets[] = {
      {{&query_job, 1}, matmul_epilogue(turn_query), model.head_dim},
      {{&key_job, 1}, matmul_epilogue(keep_keys), model.head_dim},
      {{&value_job, 1}, matmul_epilogue(keep_values), model.head_dim}};
  kernels::matmul(sets, row_count, pool);
}

/// Whether attention's epilogue quantizes its outputs. Heads must be whole groups, in the last
/// layer the wanted rows move first, and threads with less than a part of rows each would write the
/// same cache lines (those of one row have groups of their own).
bool forward_pass::state::attention_quantizes(bool is_last) const {
  const std::size_t row_count = places.size();
  return attended.wants_quantized && !is_last &&
         model.head_dim % kernels::activation_group_size == 0 &&
         (row_count == 1 || row_count >= kernels::part_rows * pool.thread_count() ||
          attended.quantized.is_bf16());
}

void forward_pass::state::attend(kernels::kv_layer kv, bool is_last) {
  const auto quantize = [&](const kernels::attended_range& range) {
    for (std::size_t i = 0; i < range.row_count; ++i)
      attended.quantize(set, range.row_first + i, range.column_first, range.column_count);
  };
  using kernels::attention_epilogue;
  kernels::paged_attention(set, cache.layout(), kv, is_last ? wanted_slices : slices,
                           {.query = query.data(),
                            .query_stride = query_width,
                            .output = attended.floats.data(),
                            .output_stride = query_width,
                            .head_count = model.head_count,
                            .scale = 1.0f / std::sqrt(static_cast<float>(model.head_dim)),
                            .epilogue = attention_quantizes(is_last) ? attention_epilogue(quantize)
                                                                     : attention_epilogue()},
                           pool);
}

void forward_pass::state::quantize_attended(std::size_t row_count) {
  for_rows(row_count,
           [&](std::size_t row, std::size_t) { attended.quantize(set, row, 0, attended.width); });
}

/// Moves the wanted rows to the front; they ascend, so none is overwritten before it has moved.
void forward_pass::state::keep_wanted_rows() {
  for (std::size_t to = 0; to < wanted.size(); ++to) {
    if (wanted[to] == to) continue;
    std::copy_n(hidden.data() + wanted[to] * model.hidden_size, model.hidden_size,
                hidden.data() + to * model.hidden_size);
    std::copy_n(attended.row(wanted[to]), query_width, attended.row(to));
  }
}

/// hidden += input * weight.
void forward_pass::state::add_to_hidden(const kernels::packed_matrix& weight,
                                        const activations& input, std::size_t row_count) {
  const kernels::matmul_job job = job_of(weight, input);
  const auto add = [&](const kernels::output_range& range) {
    for (std::size_t i = 0; i < range.row_count; ++i) {
      float* const to =
          hidden.data() + (range.row_first + i) * model.hidden_size + range.output_first;
      kernels::add_row(set, to, range.made[0].row(i), range.output_count);
    }
  };
  const kernels::matmul_set one{.jobs = {&job, 1}, .epilogue = kernels::matmul_epilogue(add)};
  kernels::matmul({&one, 1}, row_count, pool);
}

/// From the attended rows to the next layer.
void forward_pass::state::finish_layer(const layer_weights& layer, std::size_t row_count) {
  add_to_hidden(layer.output, attended, row_count);
  norm_rows(row_count, layer.feed_forward_norm.span());
  make_gated(layer, row_count);
  add_to_hidden(layer.down, gated, row_count);
}

/// silu(gate) * up, quantized by the thread that made both: whole groups of columns.
void forward_pass::state::make_gated(const layer_weights& layer, std::size_t row_count) {
  const kernels::matmul_job jobs[] = {job_of(layer.gate, normed), job_of(layer.up, normed)};
  const auto combine = [&](const kernels::output_range& range) {
    for (std::size_t i = 0; i < range.row_count; ++i) {
      float* const gate = range.made[0].row(i);
      kernels::silu_mul(set, gate, range.made[1].row(i), range.output_count, gate);
      gated.put(set, range.row_first + i, range.output_first, range.output_count, gate);
    }
  };
  const kernels::matmul_set both{jobs, kernels::matmul_epilogue(combine),
                                 kernels::activation_group_size};
  kernels::matmul({&both, 1}, row_count, pool);
}

std::span<const float> forward_pass::state::make_logits() {
  norm_rows(wanted.size(), weights.output_norm());
  kernels::matmul_job job = job_of(weights.head(), normed);
  job.output = logits.data();
  job.output_stride = model.vocab_size;
  kernels::matmul(job, wanted.size(), pool);
  return {logits.data(), wanted.size() * model.vocab_size};
}

forward_pass::forward_pass(const model_description& description, const model_weights& weights,
                           kv_cache& cache, thread_pool& pool, isa set,
                           std::size_t max_tokens_per_step)
    : state_(std::make_unique<state>(description, weights, cache, pool, set, max_tokens_per_step)) {
}

forward_pass::forward_pass(forward_pass&&) noexcept = default;
forward_pass& forward_pass::operator=(forward_pass&&) noexcept = default;
forward_pass::~forward_pass() = default;

std::span<const float> forward_pass::run(std::span<const forward_slice> slices) {
  state& s = *state_;
  s.place_rows(slices);
  std::size_t row_count = s.places.size();
  if (row_count == 0) return {};
  s.make_room(row_count);
  s.embed(row_count);
  for (std::size_t index = 0; index < s.model.layer_count; ++index) {
    const layer_weights& layer = s.weights.layer(index);
    const kernels::kv_layer kv = s.cache.layer(index);
    const bool is_last = index + 1 == s.model.layer_count;
    s.norm_rows(row_count, layer.attention_norm.span());
    s.make_qkv(layer, kv, row_count);
    if (is_last && s.wanted.empty()) return {};
    s.attend(kv, is_last);
    if (is_last) {
      s.keep_wanted_rows();
      row_count = s.wanted.size();
    }
    if (s.attended.wants_quantized && !s.attention_quantizes(is_last))
      s.quantize_attended(row_count);
    s.finish_layer(layer, row_count);
  }
  return s.make_logits();
}

result<kernels::kv_layout> kv_layout_for(const model_description& description,
                                         kernels::kv_dtype type, std::size_t block_tokens) {
  const std::size_t step = kernels::head_dim_step(type);
  if (description.head_dim % step != 0 || description.head_dim > kernels::attention_head_dim_max) {
    return error{
        errc::unsupported,
        fmt::format("attention heads of {} elements; with a KV cache of this kv_cache_dtype "
                    "they are multiples of {}, up to {}",
                    description.head_dim, step, kernels::attention_head_dim_max)};
  }
  if (block_tokens == 0 || block_tokens % kernels::kv_tile_tokens != 0 ||
      kernels::attention_segment_tokens % block_tokens != 0) {
    return error{
        errc::invalid_argument,
        fmt::format("KV blocks of {} tokens; a block holds 16, 32, 64, 128 or 256", block_tokens)};
  }
  return kernels::kv_layout{.type = type,
                            .kv_head_count = description.kv_head_count,
                            .head_dim = description.head_dim,
                            .block_tokens = block_tokens};
}

}  // namespace troupe
