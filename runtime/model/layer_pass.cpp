#include "runtime/model/layer_pass.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/base/cache_sizes.hpp"
#include "kernels/base/divide_up.hpp"
#include "kernels/rms_norm/rms_norm.hpp"
#include "kernels/rope/rope.hpp"
#include "kernels/silu_mul/silu_mul.hpp"

namespace troupe {

namespace {

/// What is asked for ahead of attention takes this share of the last cache at most, so that it is
/// still there when it is read: weights and activations go through it meanwhile.
constexpr std::size_t ahead_cache_share = 3;

/// Blocks that may be asked for ahead by one of so many that share the cache.
std::size_t blocks_ahead_max(std::size_t block_bytes, std::size_t sharer_count) {
  static const cache_sizes sizes = read_cache_sizes();
  return sizes.largest_bytes() / (ahead_cache_share * sharer_count * block_bytes);
}

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

layer_pass::layer_pass(const model_description& description, const model_weights& weights,
                       kv_cache& cache, thread_pool& pool, isa set)
    : model_(description), weights_(weights), cache_(cache), pool_(pool), set_(set) {
  TROUPE_CHECK(weights_.instruction_set() == set_);
  TROUPE_CHECK(weights_.layer_count() == model_.layer_count);
  TROUPE_CHECK(cache_.layer_count() == model_.layer_count);
  TROUPE_CHECK(cache_.layout().kv_head_count == model_.kv_head_count);
  TROUPE_CHECK(cache_.layout().head_dim == model_.head_dim);
  TROUPE_CHECK(model_.rope.frequencies.size() * 2 <= model_.head_dim);
  query_width_ = model_.head_count * model_.head_dim;
  normed_.width = model_.hidden_size;
  attended_.width = query_width_;
  gated_.width = model_.intermediate_size;
  normed_.add_reader(weights_.head());
  for (std::size_t i = 0; i < weights_.layer_count(); ++i) {
    const layer_weights& layer = weights_.layer(i);
    for (const auto* matrix : {&layer.query, &layer.key, &layer.value, &layer.gate, &layer.up})
      normed_.add_reader(*matrix);
    attended_.add_reader(layer.output);
    gated_.add_reader(layer.down);
  }
  if (kernels::read_ahead::is_worthwhile(set_)) {
    for (const auto* matrix : weights_.layer(0).matrices()) layer_groups_ += matrix->group_count();
    waited_blocks_max_ =
        blocks_ahead_max(cache_.layout().block_bytes(), pool_.is_open() ? pool_.thread_count() : 1);
  }
  attended_.wants_floats = true;  // queries, and what attention makes of them in their place
  thread_row_stride_ = model_.hidden_size + 16;
  thread_rows_ =
      aligned_buffer<float>(pool_.thread_count() * kernels::part_rows * thread_row_stride_);
}

/// Lists the step's rows, and those whose logits are wanted, and checks everything that kernels
/// rely on.
void layer_pass::place_rows(std::span<const forward_slice> step) {
  const std::size_t block_tokens = cache_.layout().block_tokens;
  places_.clear();
  wanted_.clear();
  slices_.clear();
  wanted_slices_.clear();
  for (const forward_slice& slice : step) {
    const std::size_t count = slice.tokens.size();
    const std::size_t end = slice.position_first + count;
    const std::size_t blocks = kernels::divide_up(end, block_tokens);
    TROUPE_CHECK(count > 0 && blocks <= slice.block_table.size());
    for (block_index block : slice.block_table.first(blocks)) {
      TROUPE_CHECK(to_index(block) < cache_.block_count());
    }
    kernels::attention_slice rows{.row_first = places_.size(),
                                  .row_count = count,
                                  .position_first = slice.position_first,
                                  .block_table = slice.block_table};
    slices_.push_back(rows);
    for (std::size_t i = 0; i < count; ++i) places_.push_back({&slice, slice.position_first + i});
    if (slice.want == forward_slice::logits::none) continue;
    if (slice.want == forward_slice::logits::last) {
      rows.row_first += count - 1;
      rows.position_first += count - 1;
      rows.row_count = 1;
    }
    wanted_slices_.push_back(rows);
    for (std::size_t i = 0; i < rows.row_count; ++i) wanted_.push_back(rows.row_first + i);
  }
}

/// Of slices whose attention is faster than memory; the first ones, if they are too many.
void layer_pass::list_waited_blocks() {
  if (layer_groups_ == 0) return;
  waited_blocks_.clear();
  const std::size_t block_tokens = cache_.layout().block_tokens;
  for (const kernels::attention_slice& slice : slices_) {
    if (!kernels::waits_for_memory(slice, model_.head_count / model_.kv_head_count)) continue;
    const std::size_t count =
        std::min(kernels::divide_up(slice.position_first + slice.row_count, block_tokens),
                 waited_blocks_max_ - waited_blocks_.size());
    const auto blocks = slice.block_table.first(count);
    waited_blocks_.insert(waited_blocks_.end(), blocks.begin(), blocks.end());
  }
}

/// While matmuls compute, from now on until attention over kv.
void layer_pass::read_ahead(kernels::kv_layer kv, std::size_t row_count) {
  if (layer_groups_ == 0) return;
  ahead_.begin(kv.data, cache_.layout().block_bytes(), waited_blocks_, layer_groups_, row_count);
}

void layer_pass::make_room(std::size_t row_count) {
  hidden_.reserve_discarding(row_count * model_.hidden_size);
  cosines_.reserve_discarding(row_count * model_.rope.frequencies.size());
  sines_.reserve_discarding(row_count * model_.rope.frequencies.size());
  normed_.resize(set_, row_count);
  attended_.resize(set_, row_count);
  gated_.resize(set_, row_count);
}

/// body(first row, rows, thread) for each part of quantized_rows; threads do not share cache lines
/// then. Enough parts to a task to outweigh claiming it (a row takes some 0.3 us).
template <class Body>
void layer_pass::for_parts(std::size_t row_count, const Body& body) {
  constexpr std::size_t part = kernels::part_rows;
  const std::size_t share = kernels::divide_up(row_count, 4 * pool_.thread_count());
  const std::size_t rows_per_task =
      kernels::divide_up(std::min<std::size_t>(share, 32), part) * part;
  const std::size_t tasks = kernels::divide_up(row_count, rows_per_task);
  pool_.parallel_for(tasks, [&](std::size_t task, std::size_t thread) {
    const std::size_t end = std::min(row_count, (task + 1) * rows_per_task);
    for (std::size_t row = task * rows_per_task; row < end; row += part)
      body(row, std::min(part, end - row), thread);
  });
}

void layer_pass::embed(std::size_t row_count) {
  const std::size_t pairs = model_.rope.frequencies.size();
  for_parts(row_count, [&](std::size_t first, std::size_t count, std::size_t) {
    for (std::size_t row = first; row < first + count; ++row) {
      const row_place& place = places_[row];
      const token_id token = place.slice->tokens[place.position - place.slice->position_first];
      weights_.read_embedding(token,
                              {hidden_.data() + row * model_.hidden_size, model_.hidden_size});
      kernels::rope_table_row(model_.rope.frequencies, place.position,
                              static_cast<double>(model_.rope.attention_factor),
                              cosines_.data() + row * pairs, sines_.data() + row * pairs);
    }
  });
}

void layer_pass::norm_rows(const float* rows, std::size_t row_count,
                           std::span<const float> weight) {
  const std::size_t width = model_.hidden_size;
  for_parts(row_count, [&](std::size_t first, std::size_t count, std::size_t thread) {
    float* const made = thread_rows_.data() + thread * kernels::part_rows * thread_row_stride_;
    kernels::rms_norm(set_, {.x = rows + first * width,
                             .x_stride = width,
                             .row_count = count,
                             .count = width,
                             .weight = weight.data(),
                             .epsilon = model_.rms_epsilon,
                             .y = made,
                             .y_stride = thread_row_stride_});
    normed_.put(
        set_, first, 0,
        {.first = made, .stride = thread_row_stride_, .row_count = count, .column_count = width});
  });
}

/// Q/K norm and RoPE of some heads of one row, which lie at head_dim from each other.
void layer_pass::turn_heads(float* heads, std::size_t count, std::size_t row,
                            const aligned_buffer<float>& norm) {
  if (model_.has_qk_norm) {
    kernels::rms_norm(set_, {.x = heads,
                             .x_stride = model_.head_dim,
                             .row_count = count,
                             .count = model_.head_dim,
                             .weight = norm.data(),
                             .epsilon = model_.rms_epsilon,
                             .y = heads,
                             .y_stride = model_.head_dim});
  }
  const std::size_t pairs = model_.rope.frequencies.size();
  kernels::rope(set_, {.heads = heads,
                       .head_count = count,
                       .head_stride = model_.head_dim,
                       .pair_count = pairs,
                       .cosines = cosines_.data() + row * pairs,
                       .sines = sines_.data() + row * pairs,
                       .interleaved = model_.rope.pairing == rope_pairing::interleaved});
}

/// Q, K and V; each range of whole heads is normed, turned and written to the cache by the thread
/// that made it.
void layer_pass::make_qkv(const layer_weights& layer, kernels::kv_layer kv, std::size_t row_count) {
  kernels::matmul_job query_job = job_of(layer.query, normed_, &layer.query_bias);
  query_job.output = attended_.floats.data();
  query_job.output_stride = query_width_;
  const kernels::matmul_job key_job = job_of(layer.key, normed_, &layer.key_bias);
  const kernels::matmul_job value_job = job_of(layer.value, normed_, &layer.value_bias);

  const auto for_made_rows = [&](const kernels::output_range& range, const auto& body) {
    const std::size_t head = range.output_first / model_.head_dim;
    const std::size_t count = range.output_count / model_.head_dim;
    for (std::size_t i = 0; i < range.row_count; ++i)
      body(range.row_first + i, head, count, range.made[0].row(i));
  };
  const auto turn_query = [&](const kernels::output_range& range) {
    for_made_rows(range, [&](std::size_t row, std::size_t, std::size_t count, float* heads) {
      turn_heads(heads, count, row, layer.query_norm);
    });
  };
  const auto write = [&](std::size_t row, std::size_t head, const float* k, const float* v) {
    kernels::write_kv_head(set_, cache_.layout(), kv, places_[row].slice->block_table,
                           places_[row].position, head, k, v);
  };
  const auto keep_keys = [&](const kernels::output_range& range) {
    for_made_rows(range, [&](std::size_t row, std::size_t head, std::size_t count, float* keys) {
      turn_heads(keys, count, row, layer.key_norm);
      for (std::size_t i = 0; i < count; ++i)
        write(row, head + i, keys + i * model_.head_dim, nullptr);
    });
  };
  const auto keep_values = [&](const kernels::output_range& range) {
    for_made_rows(range, [&](std::size_t row, std::size_t head, std::size_t count, float* values) {
      for (std::size_t i = 0; i < count; ++i)
        write(row, head + i, nullptr, values + i * model_.head_dim);
    });
  };
  using kernels::matmul_epilogue;
  const kernels::matmul_set sets[] = {
      {{&query_job, 1}, matmul_epilogue(turn_query), model_.head_dim},
      {{&key_job, 1}, matmul_epilogue(keep_keys), model_.head_dim},
      {{&value_job, 1}, matmul_epilogue(keep_values), model_.head_dim}};
  kernels::matmul(sets, row_count, pool_, &ahead_);
}

/// Whether attention's epilogue quantizes its outputs: that saves a region where threads would have
/// to meet for it. A thread that is mostly alone quantizes whole parts of rows afterwards, which
/// costs half as much. Heads must be whole groups, in the last layer the wanted rows move first,
/// and threads with less than a part of rows each would write the same cache lines (those of one
/// row have groups of their own).
bool layer_pass::attention_quantizes(bool is_last) const {
  const std::size_t row_count = places_.size();
  const bool threads_meet = !pool_.is_open() && pool_.thread_count() > 1;
  return attended_.wants_quantized && !is_last && threads_meet &&
         model_.head_dim % kernels::activation_group_size == 0 &&
         (row_count == 1 || row_count >= kernels::part_rows * pool_.thread_count() ||
          attended_.quantized.is_bf16());
}

void layer_pass::attend(kernels::kv_layer kv, bool is_last) {
  const auto quantize = [&](const kernels::attended_range& range) {
    attended_.quantize(set_, range.row_first, range.row_count, range.column_first,
                       range.column_count);
  };
  using kernels::attention_epilogue;
  kernels::paged_attention(set_, cache_.layout(), kv, is_last ? wanted_slices_ : slices_,
                           {.query = attended_.floats.data(),
                            .query_stride = query_width_,
                            .output = attended_.floats.data(),
                            .output_stride = query_width_,
                            .head_count = model_.head_count,
                            .scale = 1.0f / std::sqrt(static_cast<float>(model_.head_dim)),
                            .epilogue = attention_quantizes(is_last) ? attention_epilogue(quantize)
                                                                     : attention_epilogue()},
                           pool_);
}

void layer_pass::quantize_attended(std::size_t row_count) {
  for_parts(row_count, [&](std::size_t first, std::size_t count, std::size_t) {
    attended_.quantize(set_, first, count, 0, attended_.width);
  });
}

/// Moves the wanted rows to the front; they ascend, so none is overwritten before it has moved.
void layer_pass::keep_wanted_rows() {
  for (std::size_t to = 0; to < wanted_.size(); ++to) {
    if (wanted_[to] == to) continue;
    std::copy_n(hidden_.data() + wanted_[to] * model_.hidden_size, model_.hidden_size,
                hidden_.data() + to * model_.hidden_size);
    std::copy_n(attended_.row(wanted_[to]), query_width_, attended_.row(to));
  }
}

/// hidden += input * weight.
void layer_pass::add_to_hidden(const kernels::packed_matrix& weight, const activations& input,
                               std::size_t row_count) {
  kernels::matmul_job job = job_of(weight, input);
  job.output = hidden_.data();
  job.output_stride = model_.hidden_size;
  job.adds = true;
  kernels::matmul(job, row_count, pool_, &ahead_);
}

/// From the attended rows to the next layer.
void layer_pass::finish_layer(const layer_weights& layer, std::size_t row_count) {
  add_to_hidden(layer.output, attended_, row_count);
  norm_rows(hidden_.data(), row_count, layer.feed_forward_norm.span());
  make_gated(layer, row_count);
  add_to_hidden(layer.down, gated_, row_count);
}

/// silu(gate) * up, quantized by the thread that made both: whole groups of columns.
void layer_pass::make_gated(const layer_weights& layer, std::size_t row_count) {
  const kernels::matmul_job jobs[] = {job_of(layer.gate, normed_), job_of(layer.up, normed_)};
  const auto combine = [&](const kernels::output_range& range) {
    // A part of the rows at a time, so that it is rounded while it is in L1.
    for (std::size_t first = 0; first < range.row_count; first += kernels::part_rows) {
      const std::size_t count = std::min(kernels::part_rows, range.row_count - first);
      for (std::size_t i = first; i < first + count; ++i) {
        float* const gate = range.made[0].row(i);
        kernels::silu_mul(set_, gate, range.made[1].row(i), range.output_count, gate);
      }
      gated_.put(set_, range.row_first + first, range.output_first,
                 {.first = range.made[0].row(first),
                  .stride = range.made[0].stride,
                  .row_count = count,
                  .column_count = range.output_count});
    }
  };
  const kernels::matmul_set both{jobs, kernels::matmul_epilogue(combine),
                                 kernels::activation_group_size};
  kernels::matmul({&both, 1}, row_count, pool_, &ahead_);
}

void layer_pass::run(std::span<const forward_slice> step,
                     const std::function<void(std::size_t)>& before_attention) {
  place_rows(step);
  std::size_t row_count = places_.size();
  if (row_count == 0) return;
  list_waited_blocks();
  make_room(row_count);
  embed(row_count);
  read_ahead(cache_.layer(0), row_count);
  for (std::size_t index = 0; index < model_.layer_count; ++index) {
    const layer_weights& layer = weights_.layer(index);
    const kernels::kv_layer kv = cache_.layer(index);
    const bool is_last = index + 1 == model_.layer_count;
    norm_rows(hidden_.data(), row_count, layer.attention_norm.span());
    make_qkv(layer, kv, row_count);
    before_attention(index);
    ahead_.end();
    if (is_last && wanted_.empty()) return;
    attend(kv, is_last);
    if (is_last) {
      keep_wanted_rows();
      row_count = wanted_.size();
    } else {
      read_ahead(cache_.layer(index + 1), row_count);
    }
    if (attended_.wants_quantized && !attention_quantizes(is_last)) quantize_attended(row_count);
    finish_layer(layer, row_count);
  }
}

void layer_pass::make_logits(const float* hidden, std::size_t row_count, float* logits) {
  normed_.resize(set_, row_count);
  norm_rows(hidden, row_count, weights_.output_norm());
  kernels::matmul_job job = job_of(weights_.head(), normed_);
  job.output = logits;
  job.output_stride = model_.vocab_size;
  kernels::matmul(job, row_count, pool_);
}

}  // namespace troupe
