// The compute threads. parallel_for splits a region into tasks which threads claim dynamically, so
// that a thread that loses its core delays a region by one task at most. Each begins with a share
// of its own: regions over the same rows find them in the cache of the core that wrote them. A
// waiting thread
// spins for at most spin_us and then sleeps on a futex. Nothing here may split a sum: a task
// computes whole outputs (batch invariance).
//
// An open pool has no threads: its caller works alone, at no cost, but for those that help() for a
// while. So threads that each have rows of their own meet only where one is done before others.
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
    bool is_open = false;          ///< no threads of its own: the others are those that help
  };

  explicit thread_pool(const options& chosen);
  ~thread_pool();
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;

  /// Of an open pool the most that may work at once.
  [[nodiscard]] std::size_t thread_count() const noexcept { return shares_.size(); }
  [[nodiscard]] bool is_open() const noexcept { return is_open_; }

  /// Calls body(task_index, thread_index) once for each task in 0 .. task_count - 1, on the pool's
  /// threads and the caller (thread_index 0, or what it works as), and returns when all are done. A
  /// thread probably runs tasks in a row: thread t begins with those from task_count * t /
  /// thread_count on, and goes on with what others have not begun when it is done with its share.
  /// One region at a time; regions do not nest. What the tasks wrote is visible to the caller
  /// afterwards. body must not throw.
  template <class Body>
  void parallel_for(std::size_t task_count, Body&& body) {
    if (task_count == 0) return;
    if (task_count == 1 || is_alone()) {
      for (std::size_t task = 0; task < task_count; ++task) body(task, caller_index_);
      return;
    }
    using body_type = std::remove_reference_t<Body>;
    run({const_cast<void*>(static_cast<const void*>(std::addressof(body))),
         [](void* context, std::size_t task, std::size_t thread) {
           (*static_cast<body_type*>(context))(task, thread);
         }},
        task_count);
  }

  /// The caller's thread index from now on, 0 at first.
  void work_as(std::size_t thread_index) noexcept { caller_index_ = thread_index; }

  /// Lends the calling thread to an open pool until is_done(), which whoever makes it true follows
  /// with a region of several tasks or with dismiss(): a helper may sleep. thread_index is no
  /// other's at the time. A region that has begun when nobody helped goes on without help.
  template <class Predicate>
  void help(std::size_t thread_index, const Predicate& is_done) {
    helper_count_.fetch_add(1, std::memory_order_relaxed);
    for (;;) {
      const std::uint32_t seen = region_.load(std::memory_order_acquire);
      if (is_done()) break;
      claim_tasks(thread_index);
      wait_until(region_, [&](std::uint32_t now) { return now != seen || is_done(); });
    }
    helper_count_.fetch_sub(1, std::memory_order_relaxed);
  }

  /// Lets those that help() ask whether they are done.
  void dismiss() noexcept {
    region_.fetch_add(1, std::memory_order_release);
    region_.notify_all();
  }

 private:
  struct job {
    void* context = nullptr;
    void (*call)(void*, std::size_t, std::size_t) = nullptr;
  };

  [[nodiscard]] bool is_alone() const noexcept {
    return is_open_ ? helper_count_.load(std::memory_order_relaxed) == 0 : workers_.empty();
  }
  void run(job work, std::size_t task_count);
  void worker_loop(std::size_t thread_index);
  void claim_tasks(std::size_t thread_index);
  void claim_share(std::size_t share, std::size_t thread_index);
  /// The first task of a share; of the last one's successor task_count_.
  [[nodiscard]] std::size_t share_begin(std::size_t share) const noexcept {
    return task_count_ * share / shares_.size();
  }
  static void pause_briefly() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  /// Spins, then sleeps until the word changes.
  template <class Predicate>
  void wait_until(std::atomic<std::uint32_t>& word, const Predicate& ready) {
    const auto spin_end = std::chrono::steady_clock::now() + std::chrono::microseconds(spin_us_);
    for (;;) {
      for (int i = 0; i < 64; ++i) {
        if (ready(word.load(std::memory_order_acquire))) return;
        pause_briefly();
      }
      if (std::chrono::steady_clock::now() >= spin_end) break;
    }
    for (;;) {
      const std::uint32_t seen = word.load(std::memory_order_acquire);
      if (ready(seen)) return;
      word.wait(seen, std::memory_order_acquire);
    }
  }

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
  alignas(64) std::atomic<std::uint32_t> helper_count_{0};
  job job_;
  std::size_t task_count_ = 0;
  std::uint32_t spin_us_ = 20;
  bool is_open_ = false;
  std::size_t caller_index_ = 0;
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
