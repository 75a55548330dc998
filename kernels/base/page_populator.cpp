#include "kernels/base/page_populator.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "kernels/base/large_page.hpp"
#include "kernels/base/thread_pool.hpp"

namespace troupe {

namespace {

/// Not lower (SCHED_IDLE): while a piece is in hand, others that change the process's memory map
/// wait for it, and would wait for a thread that never gets a core.
constexpr int lowest_nice = 19;

}  // namespace

page_populator::page_populator(std::vector<range> ranges, std::chrono::milliseconds quiet_min)
    : quiet_min_(quiet_min),
      thread_([this, ranges = std::move(ranges)](const std::stop_token& stop) {
        populate(stop, ranges);
      }) {}

void page_populator::pause() {
  const std::lock_guard lock(mutex_);
  is_paused_ = true;
}

void page_populator::resume() {
  const std::lock_guard lock(mutex_);
  is_paused_ = false;
  quiet_since_ = clock::now();
  changed_.notify_one();
}

bool page_populator::wait_until_quiet(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (is_paused_) {
      changed_.wait(lock, stop, [this] { return !is_paused_; });
      continue;
    }
    const clock::time_point due = quiet_since_ + quiet_min_;
    if (clock::now() >= due) return true;
    changed_.wait_until(lock, stop, due, [this] { return is_paused_; });
  }
  return false;
}

void page_populator::populate(const std::stop_token& stop, const std::vector<range>& ranges) {
  set_thread_nice(lowest_nice);
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (const range& each : ranges) {
    const auto first = reinterpret_cast<std::uintptr_t>(each.data) & ~(page - 1);
    const auto end = reinterpret_cast<std::uintptr_t>(each.data) + each.size_bytes;
    // A large page is one system call's worth: about 0.2 ms.
    for (std::uintptr_t at = first; at < end; at += large_page_bytes) {
      if (!wait_until_quiet(stop)) return;
      const std::size_t bytes = std::min(large_page_bytes, end - at);
      if (::madvise(reinterpret_cast<void*>(at), bytes, MADV_POPULATE_WRITE) != 0) return;
    }
  }
}

}  // namespace troupe
