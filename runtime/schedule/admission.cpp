// Starting what waits: seats (max_num_seqs), starts (max_batch_size), tokens of the step, and
// blocks. A request that has to wait holds back everything behind it, in its lane and in the lanes
// below, so that large requests are not starved by small ones; only what lanes below are sure of
// they still get, if the one that waits is beyond its own reserve, and what realtime is sure of if
// an async one waits in its stead. Whom it may displace for its seats and its blocks stands in
// reserves.cpp.
#include <algorithm>
#include <utility>

#include "config/limits.hpp"
#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {

void scheduler_core::state::admit(lane service, monotonic_time now,
                                  std::vector<request_started>& started,
                                  const request_state* before) {
  while (admitted != admission::closed) {
    request_state* const request = next_to_admit(service, now);
    if (request == nullptr) return;
    if (before != nullptr && !is_due_before(*request, *before)) return;
    const bool may_enter = admitted == admission::open || is_within_reserve(*request);
    const bool is_in_its_stead = request->service() != service;
    if (may_enter && start(*request, now, started)) {
      if (is_in_its_stead) starts_since_aged = 0;
      continue;
    }
    if (is_in_its_stead) {
      // Who waits in realtime's stead does not take what that lane is sure of.
      aged_waits = true;
      admitted = admission::reserves;
      continue;
    }
    if (!may_enter) return;
    const bool is_first = admitted == admission::open;
    admitted = is_first && leaves_reserves(*request) ? admission::reserves : admission::closed;
  }
}

bool scheduler_core::state::start(request_state& request, monotonic_time now,
                                  std::vector<request_started>& started) {
  sequence_state& first = request.sequences[request.first_schedulable()];
  if (!may_start(request.service()) || starts_left == 0 || waits_for_blocks(first, now) ||
      !make_seats(request))
    return false;
  const std::optional<std::uint32_t> hit_tokens = start_sequence(request, first);
  if (!hit_tokens) return false;
  charge_admission(request);
  queues.erase(request);
  if (request.service() == lane::async) {
    ++async_admitted;
    if (!request.started) {
      request.rank.turn = async_admitted;
      starts_since_aged = 0;
    }
  } else {
    ++starts_since_aged;
  }
  running.insert(request);
  for (sequence_state& each : request.sequences) each.planned_at = now;
  --starts_left;
  if (std::exchange(request.started, true)) return true;
  if (limits.enable_prefix_caching) {
    prefix_query_tokens += request.tokens_of(first).size();
    prefix_hit_tokens += *hit_tokens;
  }
  started.push_back(
      {request.id(), now - request.request.arrival, std::min(*hit_tokens, request.prompt_count())});
  return true;
}

/// The lane's next that no plan holds back. Whatever its place in a plan, the async request that
/// has waited longest takes realtime's turn now and then, and goes first where the plan holds back
/// the one in front.
request_state* scheduler_core::state::next_to_admit(lane service, monotonic_time now) const {
  if (service == lane::realtime && !aged_waits &&
      starts_since_aged >= troupe::limits::aged_start_stride) {
    request_state* const aged = queues.oldest(lane::async);
    const auto age_max = std::chrono::milliseconds{troupe::limits::async_aged_ms};
    if (aged != nullptr && now - aged->request.arrival > age_max && !is_held_back(*aged, now))
      return aged;
  }
  request_state* const front = queues.front(service);
  if (front == nullptr || !is_held_back(*front, now)) return front;
  request_state* const oldest = queues.oldest(service);
  return is_held_back(*oldest, now) ? nullptr : oldest;
}

/// True when the request's sequences fit into max_num_seqs, perhaps after preempting lower lanes.
bool scheduler_core::state::make_seats(request_state& request) {
  const std::uint32_t wanted =
      request.unfinished_count + kept_for_others(request, resource::sequences);
  if (running.sequence_count() + wanted <= limits.max_num_seqs) return true;
  const std::size_t kept_for_seats = displaceable_from(request, resource::sequences);
  std::size_t kept = running.size();
  std::uint32_t left = running.sequence_count();
  while (kept > kept_for_seats && left + wanted > limits.max_num_seqs)
    left -= running[--kept].unfinished_count;
  if (left + wanted > limits.max_num_seqs) return false;
  // Nobody is thrown out for a request that would then wait for blocks which others keep.
  kept = std::min(kept, displaceable_from(request, resource::blocks));
  if (!can_ever_make_room(kept, {}, blocks_to_start(request) + margin_of(request.service())))
    return false;
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
    offers = offers_from(sequence, static_cast<std::uint32_t>(hits.size()), positions_max);
  }
  const auto device_tokens = static_cast<std::uint32_t>(hits.size()) * limits.block_tokens;
  const auto hit_tokens =
      device_tokens + static_cast<std::uint32_t>(offers.size()) * limits.block_tokens;
  if (chunk_for(hit_tokens, tokens.size() - hit_tokens) == 0) return std::nullopt;
  if (!make_room(request, hits, blocks_for(tokens.size(), limits.block_tokens))) {
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
  count_return(sequence, device_tokens, hit_tokens);
  return hit_tokens;
}

/// True when `blocks` blocks, `hits` among them, can be had and the margin stays.
bool scheduler_core::state::make_room(const request_state& request,
                                      std::span<const block_index> hits, std::uint32_t blocks) {
  // A hit that nobody refers to takes an available block, just as a new one does.
  const std::uint32_t kept_blocks = kept_for_others(request, resource::blocks);
  const auto needed = [&](lane lowest) {
    const auto referenced = std::ranges::count_if(
        hits, [&](block_index block) { return pool.reference_count(block) != 0; });
    return blocks - static_cast<std::uint32_t>(referenced) + margin_of(lowest) + kept_blocks;
  };
  // A VIP looks at VIPs only, since it may preempt the rest.
  const lane service = request.service();
  const lane seen = service == lane::vip ? lane::vip : lane::async;
  if (needed(seen) <= pool.available()) return true;
  const std::size_t kept = displaceable_from(request, resource::blocks);
  if (kept == running.size() || !can_ever_make_room(kept, hits, blocks + margin_of(service)))
    return false;
  while (needed(service) > pool.available()) {
    if (running.size() <= kept) return false;
    preempt_request(running[running.size() - 1]);
  }
  return true;
}

/// What prefills that have begun will still take, and the reserve for growth.
std::uint32_t scheduler_core::state::margin_of(lane lowest) const {
  std::uint32_t active = 0, committed = 0;
  for (const lane each : all_lanes) {
    if (each > lowest) break;
    active += active_sequences[to_index(each)];
    committed += committed_blocks[to_index(each)];
  }
  if (active == 0) return 0;
  return committed + std::max(active, pool.total() / troupe::limits::growth_reserve_divisor);
}

/// Whether the blocks could be had if all but the first `kept_requests` running ones were
/// preempted.
bool scheduler_core::state::can_ever_make_room(std::size_t kept_requests,
                                               std::span<const block_index> hits,
                                               std::uint32_t blocks_and_margin) {
  ++mark_epoch;
  std::uint32_t kept = 0;
  for (std::size_t i = 0; i < kept_requests; ++i) kept += mark_blocks(running[i]);
  const auto kept_hits = std::ranges::count_if(
      hits, [&](block_index block) { return marks[to_index(block)] == mark_epoch; });
  return kept + blocks_and_margin <= pool.total() + static_cast<std::uint32_t>(kept_hits);
}

}  // namespace troupe
