// How often a replica may be restarted: at most restarts_max within a sliding window. A plain
// object.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>

namespace troupe {

class restart_policy {
 public:
  restart_policy(std::uint32_t restarts_max, std::chrono::nanoseconds window)
      : restarts_max_(restarts_max), window_(window) {}

  /// Notes a failure at `now`; true when another restart is allowed.
  bool allow(std::chrono::nanoseconds now) {
    while (!restarts_.empty() && now - restarts_.front() > window_) restarts_.pop_front();
    if (restarts_.size() >= restarts_max_) return false;
    restarts_.push_back(now);
    return true;
  }

 private:
  std::uint32_t restarts_max_;
  std::chrono::nanoseconds window_;
  std::deque<std::chrono::nanoseconds> restarts_;
};

}  // namespace troupe
