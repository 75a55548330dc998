// Preemption: the blocks go back, the tokens stay, and a later prefill brings the sequence to where
// it was. What that costs shows when it comes back: its blocks are still cached, or return from the
// lower tier, or are recomputed. Never a more important request for a less important one.
#include <algorithm>
#include <ranges>
#include <utility>

#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {

/// Takes blocks from the least important request that holds some. Where that is the asking one, its
/// last sequence goes; false when that was the asking sequence itself.
bool scheduler_core::state::preempt_for(request_state& request, sequence_state& sequence) {
  std::size_t i = running.size();
  while (i != 0 && running[i - 1].active_count == 0) --i;
  TROUPE_CHECK(i != 0);
  request_state& victim = running[i - 1];
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
                                 limits.lanes[to_index(request.service())].cost_window);
  request.key.place = request.rank.turn;
  queues.insert(request);
}

/// The sequence comes back to this many positions on the device, and this many in all with what the
/// lower tier uploads.
void scheduler_core::state::count_return(sequence_state& sequence, std::uint32_t device_tokens,
                                         std::uint32_t hit_tokens) {
  const std::uint32_t lost = std::exchange(sequence.lost_count, 0);
  if (lost == 0) return;
  const std::uint32_t full = lost / limits.block_tokens * limits.block_tokens;
  const preemption_kind kind = device_tokens >= full ? preemption_kind::kept
                               : hit_tokens >= full  ? preemption_kind::swapped
                                                     : preemption_kind::recomputed;
  ++preemptions_by_kind[static_cast<std::size_t>(kind)];
  recomputed_tokens += lost - std::min(lost, hit_tokens);
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
  sequence.lost_count = sequence.computed_count;
  release_blocks(request, sequence);
  loser = loser ? std::min(*loser, request.service()) : request.service();
  ++preemptions;
}

}  // namespace troupe
