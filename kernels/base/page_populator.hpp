// Has the system hand out a region's pages before they are needed, on a thread of the lowest
// priority: a page that compute threads touch first costs them its clearing.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

namespace troupe {

class page_populator {
 public:
  struct range {
    std::byte* data = nullptr;
    std::size_t size_bytes = 0;
  };

  /// Takes the ranges, which outlive it, in their order, whenever nobody has computed for
  /// quiet_min. Contents stay as they are. A system without memory left ends the process, as at a
  /// page's first use.
  page_populator(std::vector<range> ranges, std::chrono::milliseconds quiet_min);

  /// Around whatever computes: after the piece in hand nothing is done until quiet_min after
  /// resume().
  void pause();
  void resume();

 private:
  using clock = std::chrono::steady_clock;

  void populate(const std::stop_token& stop, const std::vector<range>& ranges);
  [[nodiscard]] bool wait_until_quiet(const std::stop_token& stop);

  std::chrono::milliseconds quiet_min_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool is_paused_ = false;
  clock::time_point quiet_since_ = clock::now();
  std::jthread thread_;  // last: it uses the others
};

}  // namespace troupe
