// The threads on which requests are decoded, validated and tokenized (nice 5): a flood of long
// prompts must not hold up the threads that schedule and talk. Jobs are taken VIP first, then
// realtime, then async.
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
  void work(int nice);

  std::mutex mutex_;
  std::condition_variable posted_;
  std::array<std::deque<std::function<void()>>, lane_count> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace troupe
