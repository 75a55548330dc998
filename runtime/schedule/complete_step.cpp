// Applying a step's result: blocks become findable, tokens are appended, sequences end, blocks go
// back.
#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {
namespace {

/// Of a step in the mean of recent ones: a hundred steps are a few seconds.
constexpr double decode_step_weight = 0.01;

}  // namespace

step_outcome scheduler_core::state::complete(const step_result& result) {
  TROUPE_CHECK(in_flight && *in_flight == result.id);
  TROUPE_CHECK_MESSAGE(result.slices.size() == sent.size(),
                       fmt::format("{} results for {} slices", result.slices.size(), sent.size()));
  step_outcome outcome;
  outcome.updates.reserve(sent.size());
  TROUPE_CHECK_MESSAGE(
      result.offloaded.size() == offloads_in_flight,
      fmt::format("{} blocks for {} offloads", result.offloaded.size(), offloads_in_flight));
  cost.observe(shape_in_flight, result.compute_ms);
  step_ms += result.total_ms();
  if (!part_behind && shape_in_flight.decode_sequences != 0)
    decode_step_ms +=
        (decode_step_ms == 0.0 ? 1.0 : decode_step_weight) * (step_ms - decode_step_ms);
  transfers.observe({offloads_in_flight, result.offload_ms}, {uploads_in_flight, result.upload_ms});
  for (std::size_t i = 0; i < sent.size(); ++i) complete_slice(sent[i], result.slices[i], outcome);
  sent.clear();
  in_flight.reset();
  if (!part_behind) {
    step_ms = 0.0;
    ending.clear();
  }
  return outcome;
}

void scheduler_core::state::complete_slice(const sent_slice& slice, const slice_result& result,
                                           step_outcome& outcome) {
  request_state& request = *slice.request;
  sequence_state& sequence = *slice.sequence;
  TROUPE_CHECK(result.sampled.size() == slice.sampled_indices.size());
  TROUPE_CHECK(result.prompt_logprobs.size() == slice.prompt_rows);
  const std::uint32_t first = sequence.computed_count;
  sequence.in_flight = false;
  sequence.computed_count += slice.count;
  sequence.uploaded_count = 0;
  if (limits.enable_prefix_caching) index_computed(request, sequence);
  drop_offers(sequence);

  const bool carries_prompt = request.prompt_shared && !request.ended;
  if (sequence.finished && !carries_prompt) {
    release_blocks(request, sequence);
    return;
  }
  std::vector<sampled_token> prompt_logprobs;
  if (slice.prompt_rows != 0) {  // a recomputed row was delivered before
    prompt_logprobs.assign(result.prompt_logprobs.begin() +
                               std::min(request.prompt_rows_scored - first, slice.prompt_rows),
                           result.prompt_logprobs.end());
    request.prompt_rows_scored = std::max(request.prompt_rows_scored, first + slice.prompt_rows);
  }
  if (!slice.sampled_indices.empty()) {
    apply_sampled(slice, result, std::move(prompt_logprobs), outcome);
  } else if (!slice.ending_indices.empty()) {
    finish_unsampled(slice, std::move(prompt_logprobs), outcome);
  } else if (!prompt_logprobs.empty() && !sequence.finished) {
    outcome.updates.push_back({.sequence = {request.id(), sequence.index},
                               .token = {},
                               .prompt_logprobs = std::move(prompt_logprobs),
                               .finished = {},
                               .stop_token = {}});
  }
}

/// Enters full blocks into the prefix index. A block that another sequence entered first takes the
/// place of ours.
void scheduler_core::state::index_computed(request_state& request, sequence_state& sequence) {
  const std::uint32_t block_tokens = limits.block_tokens;
  const token_view tokens = request.tokens_of(sequence);
  std::array<token_id, limits::block_tokens_max> scratch;
  for (std::uint32_t& i = sequence.indexed_count; (i + 1) * block_tokens <= sequence.computed_count;
       ++i) {
    const auto blocks = sequence.table.blocks();
    const auto parent = i == 0 ? std::nullopt : std::optional(blocks[i - 1]);
    const block_index entered =
        prefix.insert(request.request.tenant_salt, parent,
                      tokens.contiguous(i * block_tokens, block_tokens, scratch), blocks[i]);
    if (entered != blocks[i]) sequence.table.replace(pool, i, entered);
  }
}

void scheduler_core::state::apply_sampled(const sent_slice& slice, const slice_result& result,
                                          std::vector<sampled_token> prompt_logprobs,
                                          step_outcome& outcome) {
  request_state& request = *slice.request;
  sequence_state& carrier = *slice.sequence;
  for (std::size_t i = 0; i < slice.sampled_indices.size(); ++i) {
    sequence_state& sequence = request.sequences[slice.sampled_indices[i]];
    if (sequence.finished) continue;  // stopped while the step ran
    sequence_update update{.sequence = {request.id(), sequence.index},
                           .token = {},
                           .prompt_logprobs = {},
                           .finished = {},
                           .stop_token = {}};
    if (&sequence == &carrier) update.prompt_logprobs = std::move(prompt_logprobs);
    change(request, sequence, [&] {
      append_token(request, sequence, result.sampled[i], update);
      if (sequence.finished) return;
      sequence.phase = sequence_phase::decode;
      if (&sequence == &carrier) return;
      sequence.table = carrier.table.fork(pool);
      sequence.computed_count = carrier.computed_count;
      sequence.indexed_count = carrier.indexed_count;
    });
    outcome.updates.push_back(std::move(update));
  }
  request.prompt_shared = false;
  if (carrier.finished) release_blocks(request, carrier);
  if (request.unfinished_count == 0) end_request(request);
}

void scheduler_core::state::finish_unsampled(const sent_slice& slice,
                                             std::vector<sampled_token> prompt_logprobs,
                                             step_outcome& outcome) {
  request_state& request = *slice.request;
  for (const std::uint32_t index : slice.ending_indices) {
    sequence_state& sequence = request.sequences[index];
    if (sequence.finished) continue;  // stopped while the step ran
    finish_sequence(request, sequence);
    sequence_update update{.sequence = {request.id(), index},
                           .token = {},
                           .prompt_logprobs = {},
                           .finished = finish_reason::length,
                           .stop_token = {}};
    if (&sequence == slice.sequence) update.prompt_logprobs = std::move(prompt_logprobs);
    outcome.updates.push_back(std::move(update));
  }
  request.prompt_shared = false;
  release_blocks(request, *slice.sequence);
  if (request.unfinished_count == 0) end_request(request);
}

void scheduler_core::state::append_token(request_state& request, sequence_state& sequence,
                                         const sampled_token& token, sequence_update& update) {
  const stopping_params& stopping = request.request.params->stopping;
  const auto is_in = [&](const std::vector<token_id>& ids) {
    return std::ranges::find(ids, token.token) != ids.end();
  };
  const bool may_stop = sequence.output.size() >= stopping.min_tokens;
  sequence.output.push_back(token.token);
  charge_token(request);
  update.token = token;
  if (may_stop && ((!stopping.ignore_eos && is_in(limits.end_of_generation)) ||
                   is_in(stopping.stop_token_ids))) {
    update.finished = finish_reason::stop;
    update.stop_token = token.token;
  } else if (sequence.output.size() >= stopping.max_tokens ||
             request.tokens_of(sequence).size() >= limits.max_model_len) {
    update.finished = finish_reason::length;
  }
  if (!update.finished) return;
  observe_output(request, sequence);
  finish_sequence(request, sequence);
}

}  // namespace troupe
