// Preemption by recompute: the blocks go back, the tokens stay, and a later prefill (which often
// finds its blocks still cached) brings the sequence to where it was. Never a more important
// request for a less important one.
#include <ranges>

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
  request.key = admission_key_of(request.request, request.order, true);
  queues.insert(request);
  preempted_in_plan = true;
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
  release_blocks(request, sequence);
  preempted_in_plan = true;
  ++preemptions;
}

}  // namespace troupe
