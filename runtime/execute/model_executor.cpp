#include "runtime/execute/model_executor.hpp"

#include <algorithm>
#include <chrono>

namespace troupe {

namespace {

forward_slice::logits wanted_logits(const step_slice& slice) {
  if (slice.prompt_logprobs) return forward_slice::logits::all;
  return slice.sample ? forward_slice::logits::last : forward_slice::logits::none;
}

/// Milliseconds that the work takes.
template <class Work>
double timed_ms(Work&& work) {
  const auto began = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
      .count();
}

std::size_t logits_row_count(const step_slice& slice) {
  if (slice.prompt_logprobs) return slice.tokens.size();
  return slice.sample ? 1 : 0;
}

}  // namespace

result<std::unique_ptr<step_executor>> model_executor::create(
    std::shared_ptr<const loaded_model> model, const executor_options& options) {
  TROUPE_TRY(auto cache,
             kv_cache::create(options.layout, model->description.layer_count, options.block_count));
  return std::unique_ptr<step_executor>(
      new model_executor(std::move(model), options, std::move(cache)));
}

model_executor::model_executor(std::shared_ptr<const loaded_model> model,
                               const executor_options& options, kv_cache cache)
    : model_(std::move(model)),
      vocab_size_(model_->description.vocab_size),
      pool_(options.threads),
      cache_(std::move(cache)),
      forward_(model_->description, model_->weights, cache_, pool_,
               model_->weights.instruction_set(), options.max_tokens_per_step) {
  for (std::size_t i = 0; i < pool_.thread_count(); ++i) samplers_.emplace_back(vocab_size_);
  cache_.populate_in_background();
}

step_result model_executor::execute(const step_plan& plan) {
  cache_.pause_population();
  step_result result;
  result.id = plan.id;
  result.offload_ms = timed_ms([&] { result.offloaded = offload_blocks(plan); });
  result.upload_ms = timed_ms([&] { upload_blocks(plan); });
  result.compute_ms = timed_ms([&] { result.slices = compute(plan); });
  cache_.resume_population();
  return result;
}

std::vector<slice_result> model_executor::compute(const step_plan& plan) {
  for (const block_copy& copy : plan.copies) cache_.copy_block(copy.from, copy.to);

  std::vector<forward_slice> slices;
  std::vector<std::size_t> row_first;
  slices.reserve(plan.slices.size());
  row_first.reserve(plan.slices.size());
  std::size_t row_count = 0;
  for (const step_slice& slice : plan.slices) {
    slices.push_back({slice.tokens, slice.position_first, slice.block_table, wanted_logits(slice)});
    row_first.push_back(row_count);
    row_count += logits_row_count(slice);
  }
  const std::span<const float> logits = forward_.run(slices);
  TROUPE_CHECK(logits.size() == row_count * vocab_size_);

  std::vector<slice_result> finished(plan.slices.size());
  pool_.parallel_for(plan.slices.size(), [&](std::size_t i, std::size_t thread) {
    const step_slice& slice = plan.slices[i];
    const auto rows =
        logits.subspan(row_first[i] * vocab_size_, logits_row_count(slice) * vocab_size_);
    finished[i] = finish_slice(slice, rows, samplers_[thread]);
  });
  return finished;
}

std::vector<stored_block> model_executor::offload_blocks(const step_plan& plan) {
  std::vector<stored_block> offloaded(plan.offloads.size());
  pool_.parallel_for(plan.offloads.size(), [&](std::size_t i, std::size_t) {
    const block_offload& order = plan.offloads[i];
    offloaded[i] = {order.key, std::make_shared<const std::vector<std::byte>>(
                                   cache_.export_block(order.block))};
  });
  return offloaded;
}

void model_executor::upload_blocks(const step_plan& plan) {
  pool_.parallel_for(plan.uploads.size(), [&](std::size_t i, std::size_t) {
    cache_.import_block(plan.uploads[i].block, *plan.uploads[i].bytes).value();
  });
}

slice_result model_executor::finish_slice(const step_slice& slice, std::span<const float> rows,
                                          sampler& drawer) const {
  slice_result done;
  if (slice.prompt_logprobs) {
    for (std::size_t row = 0; row < slice.tokens.size(); ++row) {
      const bool last = row + 1 == slice.tokens.size();
      if (last && !slice.next_token) break;
      const token_id next = last ? *slice.next_token : slice.tokens[row + 1];
      done.prompt_logprobs.push_back(
          drawer.score(rows.subspan(row * vocab_size_, vocab_size_), next, *slice.prompt_logprobs));
    }
  }
  if (!slice.sample) return done;
  const sample_directive& order = *slice.sample;
  std::vector<token_id> forbidden;
  if (order.forbid_stop_ids) {
    forbidden = order.params->stopping.stop_token_ids;
    // With ignore_eos an EOS does not stop, but before min_tokens it is still not drawn (as in
    // vLLM).
    const auto& ends = model_->tokens->end_of_generation();
    forbidden.insert(forbidden.end(), ends.begin(), ends.end());
  }
  const std::span<const token_id> history = order.history;
  const std::size_t prompt_count = std::min<std::size_t>(order.prompt_count, history.size());
  sampling_context context;
  context.prompt = history.first(prompt_count);
  context.output = history.subspan(prompt_count);
  context.forbidden = forbidden;
  context.position = slice.position_first + slice.tokens.size();
  const auto last_row = rows.subspan(rows.size() - vocab_size_);
  for (const std::uint32_t sequence : order.sequence_indices) {
    context.sequence = sequence;
    done.sampled.push_back(drawer.sample(last_row, order.params->sampling, context));
  }
  return done;
}

}  // namespace troupe
