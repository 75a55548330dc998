#include "kernels/base/page_populator.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "kernels/base/large_page.hpp"
#include "kernels/base/thread_pool.hpp"

namespace troupe {

namespace {

/// Not lower (SCHED_IDLE): before Linux 6.4, others that change the process's memory map wait for
/// the page in hand, and would wait for a thread that never gets a core.
constexpr int lowest_nice = 19;

/// Writes a byte as it is, in one instruction: what others write meanwhile is not lost. (A compiler
/// may make an atomic fetch_or of zero a load, which brings no page of its own.)
void touch(std::uintptr_t at) {
  asm volatile("lock orb $0, %0" : "+m"(*reinterpret_cast<char*>(at)) : : "cc");
}

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
    if (each.size_bytes == 0) continue;
    const auto begin = reinterpret_cast<std::uintptr_t>(each.data);
    const std::uintptr_t first = begin & ~(page - 1);
    const std::uintptr_t end = begin + each.size_bytes;
    for (std::uintptr_t piece = first; piece < end; piece += large_page_bytes) {
      if (!wait_until_quiet(stop)) return;
      // Since Linux 6.4 a fault locks its own mapping only, before that the memory map, for a page.
      // MADV_POPULATE_WRITE locks the map for all of the piece, and for as long as this thread is
      // kept from the processor: up to 150 ms were measured in which no other thread could get
      // memory from the system.
      const std::uintptr_t piece_end = std::min(piece + large_page_bytes, end);
      for (std::uintptr_t at = piece; at < piece_end; at += page) touch(std::max(at, begin));
    }
  }
}

}  // namespace troupe
