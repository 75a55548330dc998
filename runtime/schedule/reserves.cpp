// What each lane is sure of, of the sequences and of the blocks, and whom a request may displace
// for them: async for any VIP, and async, then realtime, for a lane that is within its reserve of
// both. Of what is asked for, the displaced lane keeps what it is sure of. What a lane does not use
// is lent while nothing of it waits; lanes above that borrowed it give it back as their requests
// end.
#include <algorithm>
#include <cmath>

#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {

std::uint32_t scheduler_core::state::reserve_of(lane service, resource what) const {
  // Rounded up: with few sequences a share is one of them at least, as long as there are any.
  std::uint32_t left = what == resource::blocks ? pool.total() : limits.max_num_seqs;
  const double all = left;
  for (const lane each : all_lanes) {
    const auto own =
        static_cast<std::uint32_t>(std::ceil(limits.lanes[to_index(each)].reserved_fraction * all));
    const std::uint32_t reserve = std::min(own, left);
    if (each == service) return reserve;
    left -= reserve;
  }
  return 0;
}

std::uint32_t scheduler_core::state::held_by(lane service, resource what) {
  if (what == resource::sequences) return running.sequences_in(service);
  ++mark_epoch;
  std::uint32_t held = 0;
  for (std::size_t i = running.first_of(service); i < running.end_of(service); ++i)
    held += mark_blocks(running[i]);
  return held;
}

std::uint32_t scheduler_core::state::mark_blocks(const request_state& request) {
  std::uint32_t count = 0;
  for (const sequence_state& sequence : request.sequences) {
    for (const block_index block : sequence.table.blocks()) {
      std::uint32_t& mark = marks[to_index(block)];
      count += mark != mark_epoch ? 1u : 0u;
      mark = mark_epoch;
    }
  }
  return count;
}

std::uint32_t scheduler_core::state::blocks_to_start(const request_state& request) const {
  const sequence_state& first = request.sequences[request.first_schedulable()];
  return blocks_for(request.tokens_of(first).size(), limits.block_tokens);
}

bool scheduler_core::state::is_within_reserve(const request_state& request) {
  const lane service = request.service();
  const std::uint32_t seats = request.running ? 0 : request.unfinished_count;
  return held_by(service, resource::sequences) + seats <=
             reserve_of(service, resource::sequences) &&
         held_by(service, resource::blocks) + blocks_to_start(request) <=
             reserve_of(service, resource::blocks);
}

bool scheduler_core::state::leaves_reserves(const request_state& request) {
  std::uint32_t sequences = request.unfinished_count, blocks = blocks_to_start(request);
  for (const lane below : all_lanes) {
    if (below <= request.service()) continue;
    sequences += reserve_of(below, resource::sequences);
    blocks += reserve_of(below, resource::blocks);
  }
  return sequences <= limits.max_num_seqs && blocks <= pool.total() && !is_within_reserve(request);
}

std::uint32_t scheduler_core::state::kept_for_others(const request_state& request, resource what) {
  std::uint32_t kept = 0;
  for (const lane below : all_lanes) {
    if (below <= request.service() || queues.size(below) == 0) continue;
    const std::uint32_t reserve = reserve_of(below, what);
    if (reserve != 0) kept += reserve - std::min(reserve, held_by(below, what));
  }
  return kept != 0 && !request.running && leaves_reserves(request) ? kept : 0;
}

std::size_t scheduler_core::state::displaceable_from(const request_state& request, resource what) {
  const lane service = request.service();
  std::size_t first = running.size();
  if (running.end_of(service) == first) return first;
  const bool is_sure = is_within_reserve(request);
  for (const lane victim : {lane::async, lane::realtime}) {
    const bool may_take =
        service < victim && (is_sure || (service == lane::vip && victim == lane::async));
    if (!may_take) break;
    first = spare_from(victim, what);
    if (first != running.first_of(victim)) break;
  }
  return first;
}

std::size_t scheduler_core::state::spare_from(lane service, resource what) {
  const std::uint32_t reserve = reserve_of(service, what);
  ++mark_epoch;
  std::uint32_t held = 0;
  std::size_t i = running.first_of(service);
  for (; i < running.end_of(service) && held < reserve; ++i)
    held += what == resource::blocks ? mark_blocks(running[i]) : running[i].unfinished_count;
  return i;
}

}  // namespace troupe
