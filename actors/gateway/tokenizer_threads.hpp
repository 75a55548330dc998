// The threads on which requests are decoded, validated and tokenized (nice 5): a flood of long
// prompts must not hold up the threads that schedule and talk. Jobs are taken VIP first, then
// realtime, then async; one more thread (nice 0) takes VIP jobs alone, because a job that has begun
// cannot be put aside: a VIP never waits for another lane's long prompt.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "actors/gateway/port.hpp"

namespace troupe {

class tokenizer_threads final : public job_pool {
 public:
  tokenizer_threads(std::size_t thread_count, int nice);
  ~tokenizer_threads() override;  ///< finishes the job in hand, drops the others

  void post(lane service, std::function<void()> job) override;

 private:
  /// Takes jobs of the first `served_count` lanes.
  void work(int nice, std::size_t served_count);
  [[nodiscard]] std::deque<std::function<void()>>* next_jobs(std::size_t served_count);

  std::mutex mutex_;
  std::condition_variable posted_, vip_posted_;
  std::array<std::deque<std::function<void()>>, lane_count> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace troupe
