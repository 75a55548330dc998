// Notices a worker that hangs: the scheduler marks when a step begins and ends, and whoever owns
// the process looks from another thread (a hung thread cannot be restarted from inside; design,
// section 3).
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace troupe {

class step_watch {
 public:
  void begin(std::chrono::nanoseconds now) noexcept {
    began_ns_.store(now.count(), std::memory_order_relaxed);
  }
  void end() noexcept { began_ns_.store(0, std::memory_order_relaxed); }
  /// How long the step in flight has been running; zero when there is none.
  [[nodiscard]] std::chrono::nanoseconds running_for(std::chrono::nanoseconds now) const noexcept {
    const std::int64_t began = began_ns_.load(std::memory_order_relaxed);
    return began == 0 ? std::chrono::nanoseconds{0} : now - std::chrono::nanoseconds{began};
  }

 private:
  std::atomic<std::int64_t> began_ns_{0};
};

}  // namespace troupe
