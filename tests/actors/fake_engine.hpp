// What a port is given, faked: a gateway that records and answers by script, tokenizer threads that
// can be held, and the real intake on a tiny model's tokenizer.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "actors/gateway/port.hpp"
#include "runtime/model/gguf.hpp"

namespace troupe::test {

/// For conditions that other threads make true. Far beyond what they take.
inline constexpr std::chrono::seconds wait_max{30};

class fake_gateway : public gateway_link {
 public:
  /// Called with each admitted submit, outside of the lock.
  std::function<void(const inbound_submit&)> on_submit;
  /// The answer to submit number i, from 0; unset: all are admitted.
  std::function<result<void>(std::size_t)> admit;

  using gateway_link::submit;
  result<void> submit(inbound_submit request, std::string_view payload) override {
    if (!payload.empty()) request.body = std::string(payload);
    inbound_submit copy;
    {
      const std::lock_guard lock(mutex_);
      if (admit) TROUPE_TRY_VOID(admit(submits_.size()));
      copy = request;
      submits_.push_back(std::move(request));
    }
    changed_.notify_all();
    if (on_submit) on_submit(copy);
    return {};
  }
  void cancel(client_ref, std::string, std::string request_id) override {
    const std::lock_guard lock(mutex_);
    cancelled_.push_back(std::move(request_id));
    changed_.notify_all();
  }
  void resume(client_ref, std::string, std::string, troupe::resume) override {}
  void client_gone(client_ref client) override {
    const std::lock_guard lock(mutex_);
    gone_.push_back(std::move(client.identity));
    changed_.notify_all();
  }

  /// The first `count` submits, once they are there; fewer at the deadline.
  std::vector<inbound_submit> wait_for_submits(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, wait_max, [&] { return submits_.size() >= count; });
    return submits_;
  }
  std::vector<std::string> wait_for_gone(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, wait_max, [&] { return gone_.size() >= count; });
    return gone_;
  }
  std::vector<std::string> wait_for_cancelled(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, wait_max, [&] { return cancelled_.size() >= count; });
    return cancelled_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<inbound_submit> submits_;
  std::vector<std::string> cancelled_, gone_;
};

class fake_job_pool : public job_pool {
 public:
  fake_job_pool() {
    for (int i = 0; i < 2; ++i) threads_.emplace_back([this] { run(); });
  }
  ~fake_job_pool() override {
    {
      const std::lock_guard lock(mutex_);
      is_stopping_ = true;
      is_held_ = false;
    }
    changed_.notify_all();
    threads_.clear();
  }
  void post(lane, std::function<void()> job) override {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    changed_.notify_all();
  }
  /// Held jobs wait until they are let go.
  void hold(bool is_held) {
    {
      const std::lock_guard lock(mutex_);
      is_held_ = is_held;
    }
    changed_.notify_all();
  }
  bool wait_for_waiting(std::size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, wait_max, [&] { return jobs_.size() >= count; });
  }
  /// Until no job waits or runs.
  bool wait_until_idle() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, wait_max, [&] { return jobs_.empty() && running_ == 0; });
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return is_stopping_ || (!is_held_ && !jobs_.empty()); });
      if (jobs_.empty()) return;
      auto job = std::move(jobs_.front());
      jobs_.pop_front();
      ++running_;
      lock.unlock();
      job();
      job = nullptr;  // what it captured dies here, as it would on a tokenizer thread
      lock.lock();
      --running_;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  std::size_t running_ = 0;
  bool is_held_ = false, is_stopping_ = false;
  std::vector<std::jthread> threads_;
};

inline server_config config_of_keys(std::vector<std::string> keys) {
  server_config config;
  config.api_key = std::move(keys);
  return config;
}

/// Everything behind a port. One for each test case.
struct fake_engine {
  fake_gateway gateway;
  fake_job_pool jobs;
  metrics measured{"tiny"};
  engine_status status;
  std::unique_ptr<intake> prompts;
  tenancy tenants;

  /// api_key and tenants of the configuration are read.
  explicit fake_engine(const server_config& config = {})
      : tenants(config, std::chrono::steady_clock::now().time_since_epoch()) {
    status.set(engine_state::ready);
    const auto file = gguf_file::open(TROUPE_SOURCE_DIR "/tests/models/tiny-llama.gguf");
    auto tokens = *tokenizer::from_gguf(*file);
    const std::size_t vocab_size = tokens->vocab_size();
    prompts = std::make_unique<intake>(std::move(tokens), nullptr,
                                       request_bounds{2048, vocab_size, "tiny"});
  }
  [[nodiscard]] port_services services() {
    return {3, &gateway, &jobs, prompts.get(), &measured, &status, &tenants};
  }
};

// Messages as the gateway would deliver them.

inline outbound message_to(const inbound_submit& request, message_body body,
                           std::uint32_t sequence = 0, std::uint64_t offset = 0) {
  outbound message;
  message.client = request.client;
  message.header.kind = kind_of(body);
  message.header.request_id = request.header.request_id;
  message.header.sequence = sequence;
  message.header.offset = offset;
  message.body = std::move(body);
  return message;
}

inline outbound accepted_of(const inbound_submit& request, std::uint64_t prompt_tokens = 5) {
  return message_to(request, accepted{prompt_tokens});
}

inline outbound delta_of(const inbound_submit& request, std::uint64_t offset, std::string text,
                         std::optional<std::string> finish_reason = std::nullopt,
                         std::uint32_t sequence = 0) {
  delta part;
  part.text = std::move(text);
  part.token_ids = {static_cast<std::int64_t>(offset) + 100};
  part.finish_reason = std::move(finish_reason);
  return message_to(request, std::move(part), sequence, offset);
}

inline outbound finished_of(const inbound_submit& request, std::uint64_t completion_tokens,
                            std::size_t sequence_count = 1) {
  finished end;
  end.finish_reasons.assign(sequence_count, "length");
  end.prompt_tokens = 5;
  end.completion_tokens = completion_tokens;
  end.cached_tokens = 2;
  return message_to(request, std::move(end));
}

inline outbound error_of(const inbound_submit& request, errc code, std::string message) {
  return message_to(request, error_reply{std::string(to_string(code)), std::move(message)});
}

/// A whole short answer: every sequence says "<prompt> a b" in three tokens, in one burst.
inline std::vector<outbound> short_answer(const inbound_submit& request) {
  const auto& body = std::get<submit>(request.body);
  const std::string prompt = body.prompt.value_or("chat");
  std::vector<outbound> burst{accepted_of(request)};
  for (std::uint32_t sequence = 0; sequence < static_cast<std::uint32_t>(body.n); ++sequence) {
    burst.push_back(delta_of(request, 0, prompt, std::nullopt, sequence));
    burst.push_back(delta_of(request, 1, " a", std::nullopt, sequence));
    burst.push_back(delta_of(request, 2, " b" + std::to_string(sequence), "length", sequence));
  }
  burst.push_back(finished_of(request, 3 * static_cast<std::uint64_t>(body.n),
                              static_cast<std::size_t>(body.n)));
  return burst;
}

}  // namespace troupe::test
