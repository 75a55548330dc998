// Preemption: the blocks go back, the tokens stay, and a later prefill brings the sequence to where
// it was. What that costs shows when it comes back: its blocks are still cached, or return from the
// lower tier where that is cheaper (offers.cpp), or are recomputed. Never a more important request
// for a less important one.
#include <algorithm>
#include <ranges>
#include <utility>

#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {

/// The least important of the first `end` running requests that holds blocks; there is one.
request_state& scheduler_core::state::last_holder(std::size_t end) const {
  std::size_t i = end;
  while (i != 0 && running[i - 1].active_count == 0) --i;
  TROUPE_CHECK(i != 0);
  return running[i - 1];
}

/// Whose blocks a request grows into: those of the least important one. But a lane that holds more
/// than its own share does not take what another one is sure of, as long as two of its requests
/// run: the first of them always gets on.
request_state& scheduler_core::state::victim_of_growth(const request_state& request) {
  const lane service = request.service();
  request_state& last = last_holder(running.size());
  const std::uint32_t reserve = reserve_of(last.service(), resource::blocks);
  if (last.service() == service || reserve == 0 ||
      held_by(last.service(), resource::blocks) > reserve ||
      held_by(service, resource::blocks) <= reserve_of(service, resource::blocks)) {
    return last;
  }
  request_state& last_of_own = last_holder(running.end_of(service));
  return running.holds(running.first_of(service), last_of_own) ? last : last_of_own;
}

/// Takes blocks for the request's growth. Where the request itself is to give them, its last
/// sequence goes; false when that was the asking sequence itself.
bool scheduler_core::state::preempt_for(request_state& request, sequence_state& sequence) {
  request_state& victim = victim_of_growth(request);
  if (&victim != &request) {
    TROUPE_CHECK(request.rank < victim.rank);
    preempt_request(victim);
    return true;
  }
  for (auto& last : std::views::reverse(request.sequences)) {
    if (last.phase == sequence_phase::idle) continue;
    if (request.active_count == 1) {
      preempt_request(request);
    } else {
      preempt_sequence(request, last);
    }
    return &last != &sequence;
  }
  TROUPE_CHECK(false);
  return false;
}

void scheduler_core::state::preempt_request(request_state& request) {
  for (auto& sequence : std::views::reverse(request.sequences)) {
    if (sequence.phase != sequence_phase::idle) preempt_sequence(request, sequence);
  }
  running.erase(request);
  request.key = admission_key_of(request.request, request.order, true,
                                 limits.lanes[to_index(request.service())]);
  request.key.place = request.rank.turn;
  queues.insert(request);
}

/// The sequence comes back to this many positions on the device, and this many in all with what the
/// lower tier uploads.
void scheduler_core::state::count_return(sequence_state& sequence, std::uint32_t device_tokens,
                                         std::uint32_t hit_tokens) {
  const std::uint32_t positions = sequence.lost.positions;
  forget_loss(sequence);
  if (positions == 0) return;
  const std::uint32_t full = positions / limits.block_tokens * limits.block_tokens;
  const preemption_kind kind = device_tokens >= full ? preemption_kind::kept
                               : hit_tokens >= full  ? preemption_kind::swapped
                                                     : preemption_kind::recomputed;
  ++preemptions_by_kind[static_cast<std::size_t>(kind)];
  recomputed_tokens += positions - std::min(positions, hit_tokens);
}

void scheduler_core::state::preempt_sequence(request_state& request, sequence_state& sequence) {
  TROUPE_CHECK(!sequence.in_flight);
  if (sequence.draft) {
    draft& dropped = drafts[*sequence.draft];
    dropped.dropped = true;
    tokens_left += dropped.count;
    drafted = shape_of_drafts();
    sequence.draft.reset();
  }
  sequence.lost = {};
  sequence.lost.positions = sequence.computed_count;
  if (limits.enable_offload && limits.enable_prefix_caching && sequence.lost.positions != 0)
    lost.push_back({&request, &sequence});
  release_blocks(request, sequence);
  loser = loser ? std::min(*loser, request.service()) : request.service();
  ++preemptions;
}

void scheduler_core::state::forget_loss(sequence_state& sequence) {
  sequence.lost = {};
  std::erase_if(lost, [&](const returning& each) { return each.sequence == &sequence; });
}

}  // namespace troupe
