// The order in which waiting requests are admitted, and the order of importance among running ones.
// Policy only: what changes when a lane gets another order changes here.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <tuple>

#include "runtime/schedule/scheduler_core.hpp"

namespace troupe {

/// Within a lane: preempted requests first, then by priority, deadline, arrival and cost. Smaller
/// goes first.
struct admission_key {
  bool fresh = true;  ///< never preempted
  std::int32_t priority = 0;
  monotonic_time deadline = monotonic_time::max();  ///< none: last
  monotonic_time arrival{};
  std::uint64_t cost = 0;   ///< tokens x sequences
  std::uint64_t order = 0;  ///< of enqueue(); makes keys unique
  auto operator<=>(const admission_key&) const = default;
};

inline admission_key admission_key_of(const schedule_request& request, std::uint64_t order,
                                      bool preempted) {
  std::size_t length = request.prompt->size();
  for (const auto& each : request.resumed) {
    length = std::max(length, request.prompt->size() + each.output.size());
  }
  return {!preempted,
          request.priority,
          request.deadline.value_or(monotonic_time::max()),
          request.arrival,
          std::uint64_t{length} * request.params->n,
          order};
}

/// Importance of a running request: smaller is served first, the largest is preempted first.
struct running_rank {
  lane service = lane::realtime;
  std::int32_t priority = 0;
  monotonic_time arrival{};
  std::uint64_t order = 0;
  auto operator<=>(const running_rank&) const = default;
};

inline running_rank running_rank_of(const schedule_request& request, std::uint64_t order) {
  return {request.service, request.priority, request.arrival, order};
}

}  // namespace troupe
