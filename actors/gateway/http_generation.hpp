// What one completion request over HTTP collects: it may own several engine requests (prompts),
// each with several sequences. Turns their messages into one reply or into server-sent events.
// Plain state: no sockets, no clocks, no threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "actors/gateway/port.hpp"
#include "kernels/base/result.hpp"
#include "runtime/messages/openai.hpp"

namespace troupe {

class http_generation {
 public:
  /// What is read of a prompt before its submit goes to the gateway.
  struct prompt_facts {
    std::int64_t sequence_count = 1;  ///< n as it was sent
    std::string first_token = {};     ///< text of its first token; for echo with logprobs
  };
  /// The submits are taken out of the request before; there is one entry of facts for each.
  http_generation(openai_request request, openai_reply_context context,
                  std::vector<prompt_facts> prompts);

  /// The engine request of a prompt: "<id>-<index>".
  [[nodiscard]] std::string request_id(std::size_t prompt_index) const;
  [[nodiscard]] std::size_t prompt_count() const { return prompts_.size(); }

  /// Takes a message of one of its requests; others, and repeats, are ignored.
  void take(const outbound& message);

  /// The first error of any prompt.
  [[nodiscard]] const std::optional<error>& failure() const { return failure_; }
  [[nodiscard]] bool is_complete() const { return ended_count_ == prompts_.size(); }
  /// Requests without a terminal message.
  [[nodiscard]] std::vector<std::string> unfinished() const;

  [[nodiscard]] bool is_stream() const { return request_.stream; }
  [[nodiscard]] lane service() const { return request_.service.value_or(lane::realtime); }
  [[nodiscard]] const std::string& id() const { return context_.id; }
  /// Events since the last call; those that close a complete stream included.
  [[nodiscard]] std::string take_events();
  /// The reply of a complete request that is not a stream.
  [[nodiscard]] std::string whole_reply() const;

 private:
  struct prompt_state {
    std::uint64_t sequence_count = 1;
    std::uint64_t first_choice = 0;
    std::string first_token = {};
    openai_usage usage = {};
    bool ended = false;
  };
  struct choice_state {
    std::uint64_t token_count = 0;
    bool role_sent = false;
    std::size_t text_offset = 0;  ///< characters of the tokens that events reported
    openai_choice collected;      ///< stays empty in a stream
  };

  void take_delta(prompt_state& prompt, const envelope_header& header, const delta& part);
  void take_finished(prompt_state& prompt, const finished& end);
  void add_event(const prompt_state& prompt, choice_state& choice, std::uint32_t index,
                 const delta& part);
  [[nodiscard]] openai_usage total_usage() const;

  openai_request request_;
  openai_reply_context context_;
  std::vector<prompt_state> prompts_;
  std::unordered_map<std::string, std::size_t> prompt_of_request_;
  std::map<std::uint32_t, choice_state> choices_;  ///< by index, made when something comes for them
  std::string events_;
  std::size_t ended_count_ = 0;
  bool closing_events_made_ = false;
  std::optional<error> failure_;
};

}  // namespace troupe
