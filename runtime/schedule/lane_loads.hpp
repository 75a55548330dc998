// What part of the engine's time each lane asks for: what is to be expected of the lanes above
// while a request waits. Times are handed in.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "config/limits.hpp"
#include "runtime/schedule/lane.hpp"
#include "runtime/schedule/scheduler_core.hpp"

namespace troupe {

class lane_loads {
 public:
  /// A request that takes the engine so long was taken. Times do not go back.
  void observe(lane service, double engine_ms, monotonic_time now) {
    if (!first_) first_ = now;
    load& of_lane = loads_[to_index(service)];
    of_lane = {.ms = of_lane.ms * kept(of_lane.as_of, now) + engine_ms, .as_of = now};
  }

  /// Milliseconds of engine a millisecond that lanes above this one asked for in the last
  /// limits::lane_load_window_ms; more than 1 where they ask for more than there is.
  [[nodiscard]] double above(lane service, monotonic_time now) const {
    if (!first_) return 0.0;
    double ms = 0.0;
    for (const lane each : all_lanes) {
      if (each < service) ms += loads_[to_index(each)].ms * kept(loads_[to_index(each)].as_of, now);
    }
    // What a window that began with the first request can hold, and never less than a tenth.
    const double filled = std::max(0.1, 1.0 - kept(*first_, now));
    return ms / (limits::lane_load_window_ms * filled);
  }

 private:
  struct load {
    double ms = 0.0;
    monotonic_time as_of{};
  };

  static double kept(monotonic_time from, monotonic_time to) {
    return std::exp(-to_ms(std::max(to - from, monotonic_time{})) / limits::lane_load_window_ms);
  }

  std::array<load, lane_count> loads_{};
  std::optional<monotonic_time> first_;
};

}  // namespace troupe
