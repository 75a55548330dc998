#include "kernels/base/page_populator.hpp"

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace troupe {

namespace {

/// One system call's worth, a large page: about 0.2 ms, which is how long a stop or a fault may
/// wait for it.
constexpr std::size_t piece_bytes = std::size_t{2} << 20;

}  // namespace

page_populator::page_populator(std::vector<range> ranges)
    : thread_(
          [ranges = std::move(ranges)](const std::stop_token& stop) { populate(stop, ranges); }) {}

void page_populator::populate(const std::stop_token& stop, const std::vector<range>& ranges) {
  const sched_param none{};
  if (::sched_setscheduler(0, SCHED_IDLE, &none) != 0) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (const range& each : ranges) {
    const auto first = reinterpret_cast<std::uintptr_t>(each.data) & ~(page - 1);
    const auto end = reinterpret_cast<std::uintptr_t>(each.data) + each.size_bytes;
    for (std::uintptr_t at = first; at < end; at += piece_bytes) {
      if (stop.stop_requested()) return;
      const std::size_t bytes = std::min(piece_bytes, end - at);
      if (::madvise(reinterpret_cast<void*>(at), bytes, MADV_POPULATE_WRITE) != 0) return;
    }
  }
}

}  // namespace troupe
