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
#include <random>
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

TEST_CASE("an open pool's caller works alone, as the thread that it says it is", "[threads]") {
  thread_pool pool({.thread_count = 3, .is_open = true});
  CHECK(pool.is_open());
  CHECK(pool.thread_count() == 3);
  for (const std::size_t index : {0u, 2u}) {
    pool.work_as(index);
    std::size_t runs = 0;
    const auto caller = std::this_thread::get_id();
    pool.parallel_for(7, [&](std::size_t task, std::size_t thread) {
      CHECK(task == runs++);
      CHECK(thread == index);
      CHECK(std::this_thread::get_id() == caller);
    });
    CHECK(runs == 7);
  }
}

TEST_CASE("helpers of an open pool come and go: all tasks run once, no index twice at a time",
          "[threads]") {
  constexpr std::size_t threads = 3, regions = 3000;
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  thread_pool pool({.thread_count = threads, .is_open = true});
  pool.work_as(1);
  std::atomic<bool> is_over{false};
  std::atomic<std::size_t> regions_done{0}, helped{0}, wrong{0};
  std::array<std::atomic<int>, threads> busy{};
  std::vector<std::thread> helpers;
  for (const std::size_t index : {0u, 2u}) {
    helpers.emplace_back([&, index] {
      while (!is_over) {
        const std::size_t until = regions_done + 1 + index * 5;
        pool.help(index, [&] { return is_over || regions_done >= until; });
      }
    });
  }
  for (std::size_t region = 0; region < regions; ++region) {
    std::vector<std::atomic<int>> runs(1 + random() % 40);
    pool.parallel_for(runs.size(), [&](std::size_t task, std::size_t thread) {
      if (++busy[thread] != 1) ++wrong;
      ++runs[task];
      if (thread != 1) ++helped;
      --busy[thread];
    });
    for (const auto& each : runs) wrong += each == 1 ? 0 : 1;
    ++regions_done;
    pool.dismiss();
  }
  is_over = true;
  pool.dismiss();
  for (auto& helper : helpers) helper.join();
  CHECK(wrong == 0);
  WARN("helpers ran " << helped << " tasks");
}

TEST_CASE("a helper that sleeps hears of a region and of the end", "[threads]") {
  thread_pool pool({.thread_count = 2, .spin_us = 0, .is_open = true});
  std::atomic<bool> is_over{false}, is_there{false};
  std::atomic<int> by_helper{0};
  std::thread helper([&] {
    pool.help(1, [&] {
      is_there = true;
      return is_over.load();
    });
  });
  while (!is_there) std::this_thread::yield();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  pool.parallel_for(2, [&](std::size_t, std::size_t thread) {
    if (thread == 1) ++by_helper;
    while (thread == 0 && by_helper == 0 && std::chrono::steady_clock::now() < deadline)
      std::this_thread::yield();
  });
  CHECK(by_helper >= 1);
  is_over = true;
  pool.dismiss();
  helper.join();
}
