// From drawn tokens to what a client reads: detokenizing, stop strings, logprobs as text, offsets,
// and the one terminal reply. The state machine of a running request, without actors or time of its
// own.
//
//   running --every sequence ended--> finished
//      \-----abort------------------> aborted
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/messages/envelope.hpp"
#include "runtime/schedule/scheduler_core.hpp"
#include "runtime/text/detokenizer.hpp"
#include "runtime/text/stop_strings.hpp"
#include "runtime/text/tokenizer.hpp"

namespace troupe {

/// A delta of one sequence and where it stands.
struct positioned_delta {
  std::uint32_t sequence = 0;
  std::uint64_t offset = 0;  ///< of its first token among the sequence's output
  delta part;
};

class request_stream {
 public:
  request_stream(std::shared_ptr<const tokenizer> tokens,
                 std::shared_ptr<const generation_params> params,
                 std::shared_ptr<const std::vector<token_id>> prompt);

  struct taken {
    std::optional<positioned_delta> out;  ///< absent when the update carries nothing for a client
    bool stop_sequence = false;  ///< a stop string was met: the scheduler must stop the sequence
  };
  /// Takes one update. Updates of a sequence that has already ended are dropped.
  taken take(const sequence_update& update);

  /// A new scheduler scores a prompt that brought no token yet from its first row again: forgets
  /// those rows.
  void restart_prompt();

  [[nodiscard]] bool is_complete() const;  ///< every sequence ended
  /// Finish reasons and token counts; the caller adds the times.
  [[nodiscard]] finished summary() const;
  /// For a new scheduler: what each sequence has, and whether it ended.
  [[nodiscard]] std::vector<schedule_request::progress> progress() const;
  [[nodiscard]] std::uint64_t output_token_count() const;
  [[nodiscard]] std::uint64_t longest_output() const;  ///< tokens of the longest sequence

 private:
  struct sequence_state {
    std::vector<token_id> output;
    detokenizer text;
    stop_strings stops;
    std::optional<finish_reason> ended;
    std::optional<std::string> stop_reason;
  };

  void add_token(sequence_state& sequence, const sequence_update& update, delta& part,
                 bool& reached_stop);
  [[nodiscard]] stop_strings::step look_for_stop(sequence_state& sequence,
                                                 std::string_view text) const;
  void add_prompt(delta& part) const;
  [[nodiscard]] position_logprobs describe(const sampled_token& token) const;
  [[nodiscard]] logprob_entry describe(token_id id, float logprob, std::uint64_t rank) const;

  std::shared_ptr<const tokenizer> tokens_;
  std::shared_ptr<const generation_params> params_;
  std::shared_ptr<const std::vector<token_id>> prompt_;
  std::vector<sequence_state> sequences_;
  std::vector<position_logprobs>
      prompt_logprobs_;  ///< until they go out with each sequence's first delta
};

}  // namespace troupe
