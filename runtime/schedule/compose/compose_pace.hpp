// When the next search for an order is worth its time: at regular intervals, soon after many new
// requests have come, and less and less often while searches find less than they cost. A plain
// object; time is handed in. One search at a time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "config/limits.hpp"

namespace troupe {

class compose_pace {
 public:
  explicit compose_pace(
      std::chrono::nanoseconds interval = std::chrono::milliseconds{limits::compose_interval_ms})
      : interval_(interval) {}

  /// A request of the lane has come.
  void arrived() { ++arrived_; }

  [[nodiscard]] bool is_due(std::chrono::nanoseconds now) const {
    if (searching_) return false;
    if (is_first_) return true;
    const auto since = now - began_;
    if (arrived_ >= std::max(seen_, arrivals_min)) return since >= interval_ / crowded_divisor;
    return since >= (4 * arrived_ >= seen_ ? interval_ : interval_ * patience_);
  }

  /// A search has begun, for so many waiting requests.
  void begin(std::chrono::nanoseconds now, std::size_t waiting) {
    searching_ = true;
    is_first_ = false;
    began_ = now;
    seen_ = waiting;
    arrived_ = 0;
  }
  /// It has ended, and predicts an objective that is this much less than what would have been
  /// followed without it.
  void end(double gain_ms) {
    searching_ = false;
    patience_ = gain_ms < gain_ms_min ? std::min(2 * patience_, limits::compose_patience_max) : 1;
  }

 private:
  /// Of the interval, the least between two searches, where as many have come as the last one saw.
  static constexpr int crowded_divisor = 10;
  static constexpr std::size_t arrivals_min = 16;
  /// Twice the processor time of a search, which a machine of two cores lacks for its steps: not
  /// all that is predicted comes true.
  static constexpr double gain_ms_min = 40.0;

  std::chrono::nanoseconds interval_;
  std::chrono::nanoseconds began_{};
  std::size_t seen_ = 0, arrived_ = 0;
  std::uint32_t patience_ = 1;
  bool is_first_ = true, searching_ = false;
};

}  // namespace troupe
