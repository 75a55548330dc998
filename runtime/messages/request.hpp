// The messages between a client and Troupe (design, section 5), as they stand in the payload of an
// envelope. HTTP bodies are mapped onto the same structs (openai.hpp), so that there is one
// meaning.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "kernels/base/result.hpp"
#include "runtime/messages/fields.hpp"

namespace troupe {

inline constexpr std::uint32_t protocol_version = 1;

/// A generation request. Exactly one of prompt, prompt_token_ids and messages is set. Fields that
/// are absent on the wire keep the defaults here; ranges are checked by validate.hpp.
struct submit {
  std::string model;                  ///< empty: the served model
  std::optional<std::string> prompt;  ///< raw text
  std::optional<std::vector<std::int64_t>> prompt_token_ids;
  std::optional<std::string> messages_json;  ///< chat messages, a JSON array as text; on msgpack
                                             ///< `messages` is the array itself
  std::optional<std::string> tools_json;     ///< likewise `tools`
  std::optional<std::string>
      chat_template_kwargs_json;  ///< likewise `chat_template_kwargs`, an object
  bool add_generation_prompt = true;
  bool add_special_tokens = true;  ///< BOS for raw prompts, where the model has one
  std::int64_t priority = 0;
  std::optional<std::int64_t> due_ms;  ///< from arrival; orders requests and ends none
  std::int64_t n = 1;
  std::optional<std::int64_t> max_tokens;  ///< absent: as many as fit
  std::int64_t min_tokens = 0;
  double temperature = 1.0;
  std::int64_t top_k = 0;
  double top_p = 1.0;
  double min_p = 0.0;
  double repetition_penalty = 1.0;
  double presence_penalty = 0.0;
  double frequency_penalty = 0.0;
  std::optional<std::int64_t> seed;
  std::map<std::string, double> logit_bias;  ///< token id as text -> bias
  std::vector<std::string> stop;
  std::vector<std::int64_t> stop_token_ids;
  bool include_stop_str_in_output = false;
  bool ignore_eos = false;
  bool skip_special_tokens = true;
  std::optional<std::int64_t> logprobs;
  std::optional<std::int64_t> prompt_logprobs;
  bool echo = false;
  std::uint32_t sibling_count =
      1;  ///< prompts of the HTTP body that this is one of; not on the wire

  static constexpr auto fields() {
    return std::tuple{field{"model", &submit::model},
                      field{"prompt", &submit::prompt},
                      field{"prompt_token_ids", &submit::prompt_token_ids},
                      field{"messages", &submit::messages_json},
                      field{"tools", &submit::tools_json},
                      field{"chat_template_kwargs", &submit::chat_template_kwargs_json},
                      field{"add_generation_prompt", &submit::add_generation_prompt},
                      field{"add_special_tokens", &submit::add_special_tokens},
                      field{"priority", &submit::priority},
                      field{"due_ms", &submit::due_ms},
                      field{"n", &submit::n},
                      field{"max_tokens", &submit::max_tokens},
                      field{"min_tokens", &submit::min_tokens},
                      field{"temperature", &submit::temperature},
                      field{"top_k", &submit::top_k},
                      field{"top_p", &submit::top_p},
                      field{"min_p", &submit::min_p},
                      field{"repetition_penalty", &submit::repetition_penalty},
                      field{"presence_penalty", &submit::presence_penalty},
                      field{"frequency_penalty", &submit::frequency_penalty},
                      field{"seed", &submit::seed},
                      field{"logit_bias", &submit::logit_bias},
                      field{"stop", &submit::stop},
                      field{"stop_token_ids", &submit::stop_token_ids},
                      field{"include_stop_str_in_output", &submit::include_stop_str_in_output},
                      field{"ignore_eos", &submit::ignore_eos},
                      field{"skip_special_tokens", &submit::skip_special_tokens},
                      field{"logprobs", &submit::logprobs},
                      field{"prompt_logprobs", &submit::prompt_logprobs},
                      field{"echo", &submit::echo}};
  }
};

/// The request passed validation and was handed to a scheduler.
struct accepted {
  std::uint64_t prompt_tokens = 0;
  static constexpr auto fields() {
    return std::tuple{field{"prompt_tokens", &accepted::prompt_tokens}};
  }
};

/// One token and its alternatives in a logprobs report. `token` is its text, possibly with U+FFFD
/// where a token is a part of a character; `bytes` are exact.
struct logprob_entry {
  std::int64_t token_id = 0;
  std::string token;
  std::vector<std::uint8_t> bytes;
  double logprob = 0.0;
  std::uint64_t rank = 0;
  static constexpr auto fields() {
    return std::tuple{field{"token_id", &logprob_entry::token_id},
                      field{"token", &logprob_entry::token}, field{"bytes", &logprob_entry::bytes},
                      field{"logprob", &logprob_entry::logprob},
                      field{"rank", &logprob_entry::rank}};
  }
};

struct position_logprobs {
  logprob_entry chosen;
  std::vector<logprob_entry> top;
  static constexpr auto fields() {
    return std::tuple{field{"chosen", &position_logprobs::chosen},
                      field{"top", &position_logprobs::top}};
  }
};

/// New output of one sequence. The envelope's offset is the index of token_ids[0] among the
/// sequence's output tokens; text belongs to tokens up to and including these (it lags where a
/// character or a possible stop string is incomplete). finish_reason is set on the last delta of a
/// sequence.
struct delta {
  std::string text;
  std::vector<std::int64_t> token_ids;
  std::vector<position_logprobs> logprobs;  ///< one for each of token_ids, where asked for
  std::vector<position_logprobs>
      prompt_logprobs;  ///< on the first delta, where asked for; for prompt tokens 1 ..
  std::optional<std::string> finish_reason;  ///< "stop", "length"
  std::optional<std::string> stop_reason;    ///< the stop string, or the stop token id as text
  static constexpr auto fields() {
    return std::tuple{field{"text", &delta::text},
                      field{"token_ids", &delta::token_ids},
                      field{"logprobs", &delta::logprobs},
                      field{"prompt_logprobs", &delta::prompt_logprobs},
                      field{"finish_reason", &delta::finish_reason},
                      field{"stop_reason", &delta::stop_reason}};
  }
};

/// The one terminal reply of a request that ended well.
struct finished {
  std::vector<std::string> finish_reasons;  ///< by sequence
  std::uint64_t prompt_tokens = 0;
  std::uint64_t completion_tokens = 0;  ///< of all sequences
  std::uint64_t cached_tokens = 0;      ///< prompt tokens found in the prefix cache
  double queue_ms = 0.0;                ///< arrival to first step
  double ttft_ms = 0.0;                 ///< arrival to first token
  double e2e_ms = 0.0;                  ///< arrival to the end
  static constexpr auto fields() {
    return std::tuple{field{"finish_reasons", &finished::finish_reasons},
                      field{"prompt_tokens", &finished::prompt_tokens},
                      field{"completion_tokens", &finished::completion_tokens},
                      field{"cached_tokens", &finished::cached_tokens},
                      field{"queue_ms", &finished::queue_ms},
                      field{"ttft_ms", &finished::ttft_ms},
                      field{"e2e_ms", &finished::e2e_ms}};
  }
};

/// The one terminal reply of a request that did not; also the answer to any frame that cannot be
/// understood.
struct error_reply {
  std::string code;  ///< to_string(errc)
  std::string message;
  static constexpr auto fields() {
    return std::tuple{field{"code", &error_reply::code}, field{"message", &error_reply::message}};
  }
};

/// Ends a request; it is answered by its terminal reply (error "aborted").
struct cancel {
  static constexpr auto fields() { return std::tuple{}; }
};

/// Asks for everything of a request after the token offsets given, one for each sequence (absent:
/// from 0).
struct resume {
  std::vector<std::uint64_t> offsets;
  static constexpr auto fields() { return std::tuple{field{"offsets", &resume::offsets}}; }
};

struct ping {
  std::uint64_t nonce = 0;
  static constexpr auto fields() { return std::tuple{field{"nonce", &ping::nonce}}; }
};

struct pong {
  std::uint64_t nonce = 0;
  static constexpr auto fields() { return std::tuple{field{"nonce", &pong::nonce}}; }
};

/// An empty `stats` asks; the answer carries the values.
struct stats {
  std::map<std::string, double> values;  ///< metric name without prefix -> value
  static constexpr auto fields() { return std::tuple{field{"values", &stats::values}}; }
};

}  // namespace troupe
