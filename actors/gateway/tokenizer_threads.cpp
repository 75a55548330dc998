#include "actors/gateway/tokenizer_threads.hpp"

#include "kernels/base/thread_pool.hpp"

namespace troupe {

tokenizer_threads::tokenizer_threads(std::size_t thread_count, int nice) {
  for (std::size_t i = 0; i < thread_count; ++i)
    threads_.emplace_back([this, nice] { work(nice); });
}

tokenizer_threads::~tokenizer_threads() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  posted_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void tokenizer_threads::post(lane service, std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    jobs_[to_index(service)].push_back(std::move(job));
  }
  posted_.notify_one();
}

void tokenizer_threads::work(int nice) {
  set_thread_nice(nice);
  std::unique_lock lock(mutex_);
  for (;;) {
    posted_.wait(lock, [this] {
      for (const auto& lane_jobs : jobs_) {
        if (!lane_jobs.empty()) return true;
      }
      return stopping_;
    });
    if (stopping_) return;
    for (auto& lane_jobs : jobs_) {
      if (lane_jobs.empty()) continue;
      const auto job = std::move(lane_jobs.front());
      lane_jobs.pop_front();
      lock.unlock();
      job();
      lock.lock();
      break;
    }
  }
}

}  // namespace troupe
