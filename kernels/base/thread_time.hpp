// How long the calling thread has computed: what others do on the machine does not count.
#pragma once

#include <time.h>

#include <chrono>

namespace troupe {

inline std::chrono::nanoseconds thread_cpu_time() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec};
}

}  // namespace troupe
