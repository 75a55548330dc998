// How long one search may take: so much of its thread's processor time, and at the latest a
// multiple of that by the wall clock. What else runs on the machine makes a search later, not
// shorter.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>

#include "config/limits.hpp"
#include "runtime/schedule/compose/compose.hpp"

namespace troupe {

/// Time since an arbitrary start.
using search_clock = std::function<std::chrono::nanoseconds()>;

/// From now on; the clocks are asked once for each prediction.
inline compose_budget timed_budget(search_clock cpu, search_clock wall,
                                   std::chrono::nanoseconds cpu_max) {
  const auto cpu_begin = cpu(), wall_begin = wall();
  return [=, cpu = std::move(cpu), wall = std::move(wall)](std::uint64_t) {
    const std::chrono::duration<double> most = cpu_max;
    return std::max((cpu() - cpu_begin) / most,
                    (wall() - wall_begin) / (limits::compose_wall_ratio_max * most));
  };
}

}  // namespace troupe
