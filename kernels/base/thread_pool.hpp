// The compute threads. parallel_for splits a region into tasks which threads claim dynamically, so
// that a thread that loses its core delays a region by one task at most. Each begins with a share
// of its own: regions over the same rows find them in the cache of the core that wrote them. A
// waiting thread
// spins for at most spin_us and then sleeps on a futex. Nothing here may split a sum: a task
// computes whole outputs (batch invariance).
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace troupe {

class thread_pool {
 public:
  struct options {
    std::size_t thread_count = 1;  ///< including the calling thread; at least 1
    int nice = 0;                  ///< of the pool's own threads; the caller sets its own
    std::uint32_t spin_us = 20;    ///< how long a thread spins before it sleeps
  };

  explicit thread_pool(const options& chosen);
  ~thread_pool();
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;

  [[nodiscard]] std::size_t thread_count() const noexcept { return workers_.size() + 1; }

  /// Calls body(task_index, thread_index) once for each task in 0 .. task_count - 1, on the pool's
  /// threads and the caller (thread_index 0), and returns when all are done. A thread probably runs
  /// tasks in a row: thread t begins with those from task_count * t / thread_count on, and goes on
  /// with what others have not begun when it is done with its share. One region at a time;
  /// regions do not nest. What the tasks wrote is visible to the caller afterwards. body must not
  /// throw.
  template <class Body>
  void parallel_for(std::size_t task_count, Body&& body) {
    if (task_count == 0) return;
    if (workers_.empty() || task_count == 1) {
      for (std::size_t task = 0; task < task_count; ++task) body(task, std::size_t{0});
      return;
    }
    using body_type = std::remove_reference_t<Body>;
    run({const_cast<void*>(static_cast<const void*>(std::addressof(body))),
         [](void* context, std::size_t task, std::size_t thread) {
           (*static_cast<body_type*>(context))(task, thread);
         }},
        task_count);
  }

 private:
  struct job {
    void* context = nullptr;
    void (*call)(void*, std::size_t, std::size_t) = nullptr;
  };

  void run(job work, std::size_t task_count);
  void worker_loop(std::size_t thread_index);
  void claim_tasks(std::size_t thread_index);
  void claim_share(std::size_t share, std::size_t thread_index);
  /// The first task of a share; of the last one's successor task_count_.
  [[nodiscard]] std::size_t share_begin(std::size_t share) const noexcept {
    return task_count_ * share / shares_.size();
  }
  template <class Predicate>
  void wait_until(std::atomic<std::uint32_t>& word, Predicate ready);

  // Tasks that nobody has begun, of those that one thread begins with: the last ones of its share.
  struct alignas(64) task_share {
    std::atomic<std::uint32_t> unclaimed{0};
  };

  // A task is claimed by counting its share down. A successful claim proves that a region is open
  // and, because the region cannot close before that task is counted off, that job_ and task_count_
  // are its own: so a thread that wakes late costs nothing, it finds no task or helps with a later
  // region.
  alignas(64) std::atomic<std::uint32_t> region_{0};  // changes with each region; wakes the workers
  alignas(64) std::atomic<std::uint32_t> unfinished_{0};  // tasks that are not counted off
  std::vector<task_share> shares_;                        // one for each thread
  job job_;
  std::size_t task_count_ = 0;
  std::uint32_t spin_us_ = 20;
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> workers_;
};

/// Sets the nice level of the calling thread only (Linux threads have their own). False if refused.
bool set_thread_nice(int nice) noexcept;

/// Asks the kernel (Linux 6.12 and later) to give the calling thread, and those that it starts, the
/// processor in slices of this length, 100 us to 100 ms, or of the usual one (0): a thread that
/// wakes with a shorter slice comes before those that are in the middle of theirs. Its share of
/// the processor stays the same. Older kernels ignore it. False if refused.
bool set_thread_slice(std::chrono::microseconds slice) noexcept;

}  // namespace troupe
