// A port without a socket for tests on real threads: submits to an engine and waits for what comes
// back.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "actors/wiring/engine.hpp"

namespace troupe::test {

/// For conditions that other threads make true. Far beyond what they take.
inline constexpr std::chrono::seconds engine_wait_max{120};

class engine_client {
 public:
  struct answer_so_far {
    bool is_accepted = false;
    std::vector<std::int64_t> tokens;  ///< of sequence 0
    std::string error_code;
    int last_words = 0;
  };

  /// Adds its port, which the engine owns; this object outlives it as long as the engine has not
  /// ended.
  explicit engine_client(engine& running) {
    running
        .add_port([this](const port_services& services) -> result<std::unique_ptr<client_port>> {
          gateway_ = services.gateway;
          port_index_ = services.port_index;
          return std::unique_ptr<client_port>(std::make_unique<port>(shared_));
        })
        .value();
  }

  bool submit(const std::string& id, troupe::submit request) {
    envelope_header header;
    header.kind = message_kind::submit;
    header.request_id = id;
    return gateway_->submit({{port_index_, id}, header, std::move(request), "tenant", false})
        .has_value();
  }

  answer_so_far answer(const std::string& id) const {
    const std::lock_guard lock(shared_->mutex);
    return shared_->answers[id];
  }
  /// Once it has ended.
  answer_so_far wait_for(const std::string& id) const {
    return wait(id, [](const answer_so_far& answer) { return answer.last_words != 0; });
  }
  answer_so_far wait_for_tokens(const std::string& id, std::size_t count) const {
    return wait(id, [count](const answer_so_far& answer) { return answer.tokens.size() >= count; });
  }
  answer_so_far wait_until_accepted(const std::string& id) const {
    return wait(id, [](const answer_so_far& answer) { return answer.is_accepted; });
  }
  bool stopped() const {
    const std::lock_guard lock(shared_->mutex);
    return shared_->is_stopped;
  }

 private:
  struct received {
    std::mutex mutex;
    std::condition_variable changed;
    std::map<std::string, answer_so_far> answers;
    bool is_stopped = false;
  };

  class port final : public client_port {
   public:
    explicit port(std::shared_ptr<received> shared) : shared_(std::move(shared)) {}
    void deliver(std::vector<outbound> burst) override {
      const std::lock_guard lock(shared_->mutex);
      for (const outbound& event : burst) {
        answer_so_far& answer = shared_->answers[event.header.request_id];
        if (std::holds_alternative<accepted>(event.body)) answer.is_accepted = true;
        if (const auto* part = std::get_if<delta>(&event.body))
          answer.tokens.insert(answer.tokens.end(), part->token_ids.begin(), part->token_ids.end());
        if (const auto* failure = std::get_if<error_reply>(&event.body))
          answer.error_code = failure->code;
        if (std::holds_alternative<finished>(event.body) ||
            std::holds_alternative<error_reply>(event.body))
          ++answer.last_words;
      }
      shared_->changed.notify_all();
    }
    void stop(std::chrono::milliseconds) override {
      const std::lock_guard lock(shared_->mutex);
      shared_->is_stopped = true;
    }

   private:
    std::shared_ptr<received> shared_;
  };

  template <class Condition>
  answer_so_far wait(const std::string& id, Condition&& holds) const {
    std::unique_lock lock(shared_->mutex);
    const bool in_time = shared_->changed.wait_for(lock, engine_wait_max,
                                                   [&] { return holds(shared_->answers[id]); });
    REQUIRE(in_time);
    return shared_->answers[id];
  }

  std::shared_ptr<received> shared_ = std::make_shared<received>();
  gateway_link* gateway_ = nullptr;
  std::uint32_t port_index_ = 0;
};

}  // namespace troupe::test
