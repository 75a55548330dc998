#include "actors/gateway/tokenizer_threads.hpp"

#include "config/limits.hpp"
#include "kernels/base/thread_pool.hpp"

namespace troupe {

tokenizer_threads::tokenizer_threads(std::size_t thread_count, int nice) {
  for (std::size_t i = 0; i < thread_count; ++i)
    threads_.emplace_back([this, nice] { work(nice, lane_count); });
  constexpr std::size_t vip_alone = to_index(lane::vip) + 1;
  threads_.emplace_back([this] {
    set_thread_slice(std::chrono::microseconds{limits::prompt_slice_us});
    work(0, vip_alone);
  });
}

tokenizer_threads::~tokenizer_threads() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  posted_.notify_all();
  vip_posted_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void tokenizer_threads::post(lane service, std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    jobs_[to_index(service)].push_back(std::move(job));
  }
  // Either kind of thread may be the one that is free; a second one that wakes finds nothing.
  posted_.notify_one();
  if (service == lane::vip) vip_posted_.notify_one();
}

std::deque<std::function<void()>>* tokenizer_threads::next_jobs(std::size_t served_count) {
  for (std::size_t i = 0; i < served_count; ++i) {
    if (!jobs_[i].empty()) return &jobs_[i];
  }
  return nullptr;
}

void tokenizer_threads::work(int nice, std::size_t served_count) {
  set_thread_nice(nice);
  std::condition_variable& posted = served_count == lane_count ? posted_ : vip_posted_;
  std::unique_lock lock(mutex_);
  for (;;) {
    std::deque<std::function<void()>>* waiting = nullptr;
    posted.wait(lock, [&] { return (waiting = next_jobs(served_count)) != nullptr || stopping_; });
    if (stopping_) return;
    const auto job = std::move(waiting->front());
    waiting->pop_front();
    lock.unlock();
    job();
    lock.lock();
  }
}

}  // namespace troupe
