#include "kernels/base/thread_pool.hpp"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>

#include "kernels/base/check.hpp"

namespace troupe {

bool set_thread_nice(int nice) noexcept {
  const auto thread = static_cast<id_t>(::syscall(SYS_gettid));
  return ::setpriority(PRIO_PROCESS, thread, nice) == 0;
}

namespace {

/// The kernel's struct sched_attr in its first version; glibc 2.36 has no declaration.
struct scheduling_attributes {
  std::uint32_t size = sizeof(scheduling_attributes), policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime_ns = 0, deadline_ns = 0, period_ns = 0;
};

}  // namespace

bool set_thread_slice(std::chrono::microseconds slice) noexcept {
  scheduling_attributes wanted;
  if (::syscall(SYS_sched_getattr, 0, &wanted, sizeof wanted, 0) != 0) return false;
  wanted.runtime_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(slice).count());
  return ::syscall(SYS_sched_setattr, 0, &wanted, 0) == 0;
}

thread_pool::thread_pool(const options& chosen)
    : shares_(chosen.thread_count), spin_us_(chosen.spin_us), is_open_(chosen.is_open) {
  TROUPE_CHECK(chosen.thread_count >= 1);
  if (is_open_) return;
  workers_.reserve(chosen.thread_count - 1);
  for (std::size_t i = 1; i < chosen.thread_count; ++i) {
    workers_.emplace_back([this, i, nice = chosen.nice] {
      set_thread_nice(nice);
      worker_loop(i);
    });
  }
}

thread_pool::~thread_pool() {
  stopping_.store(true, std::memory_order_relaxed);
  region_.fetch_add(1, std::memory_order_release);
  region_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void thread_pool::claim_tasks(std::size_t thread_index) {
  for (std::size_t i = 0; i < shares_.size(); ++i)
    claim_share((thread_index + i) % shares_.size(), thread_index);
}

void thread_pool::claim_share(std::size_t share, std::size_t thread_index) {
  std::atomic<std::uint32_t>& unclaimed = shares_[share].unclaimed;
  std::uint32_t left = unclaimed.load(std::memory_order_acquire);
  std::uint32_t done = 0;
  while (left != 0) {
    if (!unclaimed.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel,
                                         std::memory_order_acquire)) {
      continue;
    }
    job_.call(job_.context, share_begin(share + 1) - left, thread_index);
    ++done;
    left = unclaimed.load(std::memory_order_acquire);
  }
  // Once for the share rather than for each task: all threads write this cache line.
  if (done != 0 && unfinished_.fetch_sub(done, std::memory_order_acq_rel) == done)
    unfinished_.notify_one();
}

void thread_pool::run(job work, std::size_t task_count) {
  TROUPE_CHECK(task_count <= UINT32_MAX);
  job_ = work;
  task_count_ = task_count;
  unfinished_.store(static_cast<std::uint32_t>(task_count), std::memory_order_relaxed);
  for (std::size_t i = 0; i < shares_.size(); ++i) {
    const auto count = static_cast<std::uint32_t>(share_begin(i + 1) - share_begin(i));
    shares_[i].unclaimed.store(count, std::memory_order_release);
  }
  region_.fetch_add(1, std::memory_order_release);
  region_.notify_all();
  claim_tasks(caller_index_);
  wait_until(unfinished_, [](std::uint32_t left) { return left == 0; });
}

void thread_pool::worker_loop(std::size_t thread_index) {
  std::uint32_t seen = 0;
  for (;;) {
    wait_until(region_, [seen](std::uint32_t now) { return now != seen; });
    seen = region_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_relaxed)) return;
    claim_tasks(thread_index);
  }
}

}  // namespace troupe
