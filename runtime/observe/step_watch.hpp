// Notices a worker that hangs: the scheduler marks when a step begins and ends, and whoever owns
// the process looks from another thread (a hung thread cannot be restarted from inside; design,
// section 3). A scheduler that was replaced may still be at work for a moment: its marks no longer
// count.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>

namespace troupe {

class step_watch {
 public:
  /// A new scheduler takes over; the step of its predecessor will not end. Incarnations increase.
  void take_over(std::uint64_t incarnation) {
    const std::lock_guard lock(mutex_);
    if (incarnation < incarnation_) return;
    incarnation_ = incarnation;
    began_ = {};
  }
  void begin(std::uint64_t incarnation, std::chrono::nanoseconds now) { mark(incarnation, now); }
  void end(std::uint64_t incarnation) { mark(incarnation, {}); }
  /// How long the step in flight has been running; zero when there is none.
  [[nodiscard]] std::chrono::nanoseconds running_for(std::chrono::nanoseconds now) const {
    const std::lock_guard lock(mutex_);
    return began_ == std::chrono::nanoseconds{} ? began_ : now - began_;
  }

 private:
  void mark(std::uint64_t incarnation, std::chrono::nanoseconds began) {
    const std::lock_guard lock(mutex_);
    if (incarnation == incarnation_) began_ = began;
  }

  mutable std::mutex mutex_;
  std::uint64_t incarnation_ = 0;
  std::chrono::nanoseconds began_{};  ///< zero: no step is in flight
};

}  // namespace troupe
