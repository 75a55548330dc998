// What a thread asks the kernel for, its nice level and its slice of the processor, and which tasks
// it begins with.
#include "kernels/base/thread_pool.hpp"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace troupe;

namespace {

/// Of the calling thread: {nice level, slice in ns, or 0 where the kernel knows none}.
std::pair<int, std::uint64_t> asked_of_the_kernel() {
  std::array<std::uint64_t, 6> attributes{};  // size, policy; flags; nice, priority; runtime; ...
  REQUIRE(::syscall(SYS_sched_getattr, 0, attributes.data(), sizeof attributes, 0) == 0);
  return {static_cast<std::int32_t>(attributes[2] & 0xffffffffu), attributes[3]};
}

}  // namespace

TEST_CASE("nice level and slice are a thread's own, and leave each other alone", "[threads]") {
  const auto before = asked_of_the_kernel();
  std::pair<int, std::uint64_t> niced, sliced;
  bool has_slice = false;
  std::thread([&] {
    set_thread_nice(5);
    niced = asked_of_the_kernel();
    has_slice = set_thread_slice(std::chrono::microseconds{100});
    sliced = asked_of_the_kernel();
  }).join();
  CHECK(has_slice);
  CHECK(niced.first == 5);
  CHECK(sliced.first == 5);
  // Kernels before 6.12 report no slice.
  if (niced.second != 0)
    CHECK(sliced.second == 100'000);
  else
    WARN("this kernel has no slices of one's own");
  CHECK(asked_of_the_kernel() == before);
}

TEST_CASE("each thread begins with its share, and all tasks run once", "[threads]") {
  for (const std::size_t threads : {1u, 2u, 3u}) {
    for (const std::size_t tasks : {1u, 2u, 3u, 7u, 64u}) {
      CAPTURE(threads, tasks);
      thread_pool pool({.thread_count = threads});
      std::vector<std::atomic<int>> runs(tasks);
      std::vector<std::atomic<std::size_t>> first_task(threads);
      for (auto& each : first_task) each = tasks;
      std::atomic<std::size_t> begun{0};
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{20};
      pool.parallel_for(tasks, [&](std::size_t task, std::size_t thread) {
        ++runs[task];
        if (first_task[thread] != tasks) return;
        first_task[thread] = task;
        // Until all have begun, so that nobody is late for its own.
        ++begun;
        while (tasks >= threads && begun < threads && std::chrono::steady_clock::now() < deadline)
          std::this_thread::yield();
      });
      for (const auto& each : runs) CHECK(each == 1);
      if (tasks < threads || tasks == 1) continue;
      for (std::size_t thread = 0; thread < threads; ++thread)
        CHECK(first_task[thread] == tasks * thread / threads);
    }
  }
}
