// The order in which waiting requests are admitted, and the order of importance among running ones.
// Policy only: what changes when a lane gets another order changes here.
#pragma once

#include <algorithm>
#include <cmath>
#include <compare>
#include <cstdint>
#include <tuple>

#include "config/limits.hpp"
#include "runtime/schedule/scheduler_core.hpp"

namespace troupe {

/// The place of a request that no composer has seen.
inline constexpr std::uint64_t composed_place_none = UINT64_MAX;

/// Within a lane: preempted requests first, then by priority; then by the place that a composer
/// gave (async; what it has not seen comes behind), preempted ones by their turn; then, where a
/// lane has a cost_window, by the window of that length in which each is due, and in a window by
/// cost; else by due time, arrival and cost. Smaller goes first.
struct admission_key {
  bool fresh = true;  ///< never preempted
  std::int32_t priority = 0;
  std::uint64_t place = composed_place_none;
  std::int64_t due_window = 0;
  std::uint64_t window_cost = 0;
  monotonic_time due = monotonic_time::max();
  monotonic_time arrival{};
  std::uint64_t cost = 0;   ///< tokens x sequences
  std::uint64_t order = 0;  ///< of enqueue(); makes keys unique
  auto operator<=>(const admission_key&) const = default;
};

/// When it is due: the sooner of what it asks for and of what its lane promises for the first
/// token; where there is neither, a while after its arrival, so that what comes later with a due
/// time does not go before it for ever.
inline monotonic_time due_of(const schedule_request& request, const first_token_target& target) {
  const auto asked = request.ordered_by();
  const auto after = [&](double ms) {
    return request.arrival + std::chrono::milliseconds{std::llround(ms)};
  };
  if (target.ms <= 0.0) return asked.value_or(after(limits::undue_ms));
  const monotonic_time promised = after(target.ms_for(request.prompt->size()));
  return asked ? std::min(*asked, promised) : promised;
}

inline admission_key admission_key_of(const schedule_request& request, std::uint64_t order,
                                      bool preempted, const lane_rules& rules) {
  std::size_t length = request.prompt->size();
  for (const auto& each : request.resumed) {
    length = std::max(length, request.prompt->size() + each.output.size());
  }
  const std::uint64_t cost = std::uint64_t{length} * request.params->n;
  const monotonic_time due = due_of(request, rules.first_token);
  const bool has_window = rules.cost_window > monotonic_time{};
  const monotonic_time window_end = std::min(due, request.arrival + rules.cost_window);
  return {.fresh = !preempted,
          .priority = request.priority,
          .due_window = has_window ? window_end / rules.cost_window : 0,
          .window_cost = has_window ? cost : 0,
          .due = due,
          .arrival = request.arrival,
          .cost = cost,
          .order = order};
}

/// Importance of a running request: smaller is served first, the largest is preempted first. Async
/// goes by turn, so that what a composer's plan admits last is preempted first; a preempted request
/// keeps its turn.
struct running_rank {
  lane service = lane::realtime;
  std::int32_t priority = 0;
  std::uint64_t turn = 0;  ///< async: its number among the lane's admissions; other lanes: 0
  monotonic_time arrival{};
  std::uint64_t order = 0;
  auto operator<=>(const running_rank&) const = default;
};

inline running_rank running_rank_of(const schedule_request& request, std::uint64_t order) {
  return {request.service, request.priority, 0, request.arrival, order};
}

}  // namespace troupe
