// Starting what waits: seats (max_num_seqs), starts (max_batch_size), tokens of the step, and
// blocks. A request that has to wait holds back everything behind it, in its lane and in the lanes
// below, so that large requests are not starved by small ones. Only a VIP preempts to be admitted.
#include <algorithm>
#include <utility>

#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {
namespace {

/// Blocks kept back for the growth of what runs: a hundredth of the pool, at least one a sequence.
constexpr std::uint32_t reserve_divisor = 100;

}  // namespace

void scheduler_core::state::admit(lane service, monotonic_time now,
                                  std::vector<request_started>& started) {
  while (admission_open) {
    request_state* const request = queues.front(service);
    if (request == nullptr) return;
    // After a preemption the same blocks would be handed to whoever just lost them.
    const bool may_start = (service == lane::vip || !preempted_in_plan) && starts_left != 0;
    const auto first = std::ranges::find_if(
        request->sequences, [&](const auto& each) { return request->is_schedulable(each); });
    TROUPE_CHECK(first != request->sequences.end());
    std::optional<std::uint32_t> hit_tokens;
    if (may_start && make_seats(*request)) hit_tokens = start_sequence(*request, *first);
    if (!hit_tokens) {
      admission_open = false;
      return;
    }
    queues.erase(*request);
    running.insert(*request);
    --starts_left;
    if (request->started) continue;
    request->started = true;
    if (limits.enable_prefix_caching) {
      prefix_query_tokens += request->tokens_of(*first).size();
      prefix_hit_tokens += *hit_tokens;
    }
    started.push_back({request->id(), now - request->request.arrival,
                       std::min(*hit_tokens, request->prompt_count())});
  }
}

/// True when the request's sequences fit into max_num_seqs, for a VIP after preempting lower lanes.
bool scheduler_core::state::make_seats(request_state& request) {
  const std::uint32_t wanted = request.unfinished_count;
  if (running.sequence_count() + wanted <= limits.max_num_seqs) return true;
  if (request.service() != lane::vip) return false;
  if (running.sequences_in(lane::vip) + wanted > limits.max_num_seqs) return false;
  const auto first = std::ranges::find_if(
      request.sequences, [&](const auto& each) { return request.is_schedulable(each); });
  // Nobody is thrown out for a VIP that would then wait for blocks which other VIPs hold.
  const std::uint32_t blocks = blocks_for(request.tokens_of(*first).size(), limits.block_tokens);
  if (!can_ever_make_room({}, blocks + margin_for(lane::vip))) return false;
  while (running.sequence_count() + wanted > limits.max_num_seqs) {
    preempt_request(running[running.size() - 1]);
  }
  return true;
}

/// Gives an idle sequence its cached prefix, what the lower tier offers behind it, and its first
/// chunk. Returns the positions that need not be computed; nothing when tokens or blocks lack.
std::optional<std::uint32_t> scheduler_core::state::start_sequence(request_state& request,
                                                                   sequence_state& sequence) {
  if (tokens_left == 0) return std::nullopt;
  const token_view tokens = request.tokens_of(sequence);
  std::vector<block_index> hits;
  std::span<const offered_block> offers;
  if (limits.enable_prefix_caching) {
    // A cached row has no logits: where prompt logprobs are wanted, only rows already delivered may
    // be skipped.
    const std::uint32_t positions_max =
        request.wants_prompt_logprobs() ? request.prompt_rows_scored : tokens.size();
    hits = prefix.lookup(request.request.tenant_salt, tokens, positions_max);
    offers = offers_from(request, static_cast<std::uint32_t>(hits.size()), positions_max);
  }
  const auto device_tokens = static_cast<std::uint32_t>(hits.size()) * limits.block_tokens;
  const auto hit_tokens =
      device_tokens + static_cast<std::uint32_t>(offers.size()) * limits.block_tokens;
  if (chunk_for(hit_tokens, tokens.size() - hit_tokens) == 0) return std::nullopt;
  if (!make_room(request.service(), hits, blocks_for(tokens.size(), limits.block_tokens))) {
    return std::nullopt;
  }
  std::vector<block_upload> uploads;
  change(request, sequence, [&] {
    sequence.table.adopt(pool, hits);
    sequence.phase = sequence_phase::prefill;
    sequence.computed_count = device_tokens;
    sequence.indexed_count = static_cast<std::uint32_t>(hits.size());
    uploads = take_uploads(sequence, offers);
  });
  // Room for the whole prompt was just made, so that this preempts nobody. Preempting gave tokens
  // back, if anything.
  TROUPE_CHECK(schedule(request, sequence, chunk_for(hit_tokens, tokens.size() - hit_tokens)));
  drafts[*sequence.draft].uploads = std::move(uploads);
  return hit_tokens;
}

/// True when `blocks` blocks, `hits` among them, can be had and the margin stays.
bool scheduler_core::state::make_room(lane service, std::span<const block_index> hits,
                                      std::uint32_t blocks) {
  // A hit that nobody refers to takes an available block, just as a new one does.
  const auto needed = [&] {
    const auto referenced = std::ranges::count_if(
        hits, [&](block_index block) { return pool.reference_count(block) != 0; });
    return blocks - static_cast<std::uint32_t>(referenced) + margin_for(service);
  };
  if (needed() <= pool.available()) return true;
  if (service != lane::vip || !can_ever_make_room(hits, blocks + margin_for(lane::vip)))
    return false;
  while (needed() > pool.available()) {
    if (running.size() == running.end_of(lane::vip)) return false;
    preempt_request(running[running.size() - 1]);
  }
  return true;
}

/// Blocks not to be given away: what prefills that have begun will still take, and the reserve. A
/// VIP looks at VIPs only, since it may preempt the rest.
std::uint32_t scheduler_core::state::margin_for(lane service) const {
  std::uint32_t active = 0, committed = 0;
  for (const lane each : all_lanes) {
    if (service == lane::vip && each != lane::vip) continue;
    active += active_sequences[to_index(each)];
    committed += committed_blocks[to_index(each)];
  }
  if (active == 0) return 0;
  return committed + std::max(active, pool.total() / reserve_divisor);
}

/// Whether a VIP would have its blocks if every request of the lower lanes were preempted.
bool scheduler_core::state::can_ever_make_room(std::span<const block_index> hits,
                                               std::uint32_t blocks_and_margin) {
  ++mark_epoch;
  std::uint32_t kept = 0;
  for (std::size_t i = 0; i < running.end_of(lane::vip); ++i) {
    for (const auto& sequence : running[i].sequences) {
      for (const block_index block : sequence.table.blocks()) {
        std::uint32_t& mark = marks[to_index(block)];
        if (mark != mark_epoch) ++kept;
        mark = mark_epoch;
      }
    }
  }
  const auto kept_hits = std::ranges::count_if(
      hits, [&](block_index block) { return marks[to_index(block)] == mark_epoch; });
  return kept + blocks_and_margin <= pool.total() + static_cast<std::uint32_t>(kept_hits);
}

}  // namespace troupe
