#include "runtime/model/forward.hpp"

#include <algorithm>
#include <atomic>
#include <vector>

#include <fmt/format.h>

#include "runtime/model/layer_pass.hpp"
#include "runtime/model/row_parts.hpp"

namespace troupe {

struct forward_pass::state {
  /// A part of a step's rows: the thread that takes it works alone, until others have no part left.
  struct part_run {
    thread_pool pool;
    layer_pass layers;
    alignas(64) std::atomic<std::size_t> layers_written{0};  ///< whose K and V are in the cache
    std::atomic<bool> is_done{false};

    explicit part_run(const state& whole)
        : pool({.thread_count = whole.pool.thread_count(), .is_open = true}),
          layers(whole.layers, pool) {}
  };

  const model_description& model;
  thread_pool& pool;
  isa set;
  std::size_t tokens_max;
  position_costs costs;
  layer_pass layers;  // of a step that is not cut, and the head of every step
  std::vector<std::unique_ptr<part_run>> runs;
  aligned_buffer<float> hidden;  // [wanted row][hidden_size] of all parts
  aligned_buffer<float> logits;  // [wanted row][vocab_size]

  state(const model_description& m, const model_weights& w, kv_cache& c, thread_pool& p, isa s,
        std::size_t tokens)
      : model(m),
        pool(p),
        set(s),
        tokens_max(tokens),
        costs(position_costs_of(m, w, c.layout())),
        layers(m, w, c, p, s) {}

  void run_part(std::size_t index, const row_part& part, std::size_t thread);
  std::size_t run_parts(std::span<const row_part> parts);
  std::span<const float> make_logits(const float* rows, std::size_t row_count);
};

/// On thread `thread`. Parts are taken in ascending order, so what this one waits for is being
/// computed, and meanwhile gets help.
void forward_pass::state::run_part(std::size_t index, const row_part& part, std::size_t thread) {
  part_run& mine = *runs[index];
  mine.pool.work_as(thread);
  mine.layers.run(part.slices, [&](std::size_t layer) {
    mine.layers_written.store(layer + 1, std::memory_order_release);
    for (std::size_t before = part.needs_from; before < index; ++before) {
      const auto& written = runs[before]->layers_written;
      const auto is_written = [&] { return written.load(std::memory_order_acquire) > layer; };
      if (is_written()) continue;
      mine.pool.dismiss();  // of who waits for this layer here
      runs[before]->pool.help(thread, is_written);
    }
  });
  mine.is_done.store(true, std::memory_order_release);
  mine.pool.dismiss();
}

/// All parts side by side; returns how many rows of hidden there are then.
std::size_t forward_pass::state::run_parts(std::span<const row_part> parts) {
  while (runs.size() < parts.size()) runs.push_back(std::make_unique<part_run>(*this));
  for (const auto& run : runs) {
    run->layers_written.store(0, std::memory_order_relaxed);
    run->is_done.store(false, std::memory_order_relaxed);
  }
  std::atomic<std::size_t> next_part{0};
  pool.parallel_for(pool.thread_count(), [&](std::size_t, std::size_t thread) {
    for (std::size_t index; (index = next_part.fetch_add(1)) < parts.size();)
      run_part(index, parts[index], thread);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      part_run& other = *runs[(thread + i) % parts.size()];
      const auto is_done = [&] { return other.is_done.load(std::memory_order_acquire); };
      if (!is_done()) other.pool.help(thread, is_done);
    }
  });
  std::size_t row_count = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) row_count += runs[i]->layers.wanted_count();
  hidden.reserve_discarding(row_count * model.hidden_size);
  float* to = hidden.data();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const layer_pass& done = runs[i]->layers;
    to = std::copy_n(done.wanted_hidden(), done.wanted_count() * model.hidden_size, to);
  }
  return row_count;
}

std::span<const float> forward_pass::state::make_logits(const float* rows, std::size_t row_count) {
  if (row_count == 0) return {};
  logits.reserve_discarding(row_count * model.vocab_size);
  layers.make_logits(rows, row_count, logits.data());
  return {logits.data(), row_count * model.vocab_size};
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
  std::size_t row_count = 0;
  for (const forward_slice& slice : slices) row_count += slice.tokens.size();
  TROUPE_CHECK_MESSAGE(row_count <= s.tokens_max,
                       fmt::format("a step of {} tokens; at most {}", row_count, s.tokens_max));
  const std::size_t part_count =
      row_part_count(row_count, s.pool.thread_count(), kernels::rows_alone_min(s.set, row_count));
  if (part_count == 1) {
    s.layers.run(slices, [](std::size_t) {});
    return s.make_logits(s.layers.wanted_hidden(), s.layers.wanted_count());
  }
  const std::size_t wanted = s.run_parts(cut_rows(slices, part_count, s.costs));
  return s.make_logits(s.hidden.data(), wanted);
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
