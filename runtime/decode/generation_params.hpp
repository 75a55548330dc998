// What a request asks of decoding: how tokens are drawn and when a sequence ends. Names and
// meanings follow vLLM's SamplingParams. Validated once (runtime/messages/validate.hpp), then
// immutable and shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/index_types.hpp"

namespace troupe {

struct sampling_params {
  float temperature = 1.0f;         ///< 0: greedy
  std::int32_t top_k = 0;           ///< 0 or -1: all tokens
  float top_p = 1.0f;               ///< (0, 1]
  float min_p = 0.0f;               ///< [0, 1]
  float repetition_penalty = 1.0f;  ///< > 0; over prompt and output
  float presence_penalty = 0.0f;    ///< [-2, 2]; over output
  float frequency_penalty = 0.0f;   ///< [-2, 2]; over output
  std::uint64_t seed = 0;  ///< always set: the gateway draws one where the client gave none
  std::vector<std::pair<token_id, float>>
      logit_bias;  ///< each id at most once, bias in [-100, 100]
  std::optional<std::uint32_t>
      logprobs;  ///< top tokens to report for each output token; 0: only the drawn one
  std::optional<std::uint32_t> prompt_logprobs;  ///< the same for each prompt token but the first

  [[nodiscard]] bool needs_history() const {
    return repetition_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f;
  }
};

struct stopping_params {
  std::uint32_t max_tokens = 16;
  std::uint32_t min_tokens = 0;  ///< EOS and stop ids cannot be drawn before this many
  bool ignore_eos = false;
  std::vector<token_id> stop_token_ids;
  std::vector<std::string> stop;
  bool include_stop_str_in_output = false;
};

struct generation_params {
  std::uint32_t n = 1;  ///< sequences of one request
  sampling_params sampling;
  stopping_params stopping;
  bool skip_special_tokens = true;
  bool echo = false;  ///< the prompt's text comes first (completions only)
};

struct token_logprob {
  token_id token{};
  float logprob = 0.0f;  ///< natural log of the probability under the raw logits
};

/// One drawn token and, where asked for, the logprobs of its position.
struct sampled_token {
  token_id token{};
  float logprob =
      0.0f;  ///< of `token`, under the raw logits; meaningful when logprobs were asked for
  std::uint32_t rank =
      0;  ///< 1 = the most probable under the raw logits; 0: logprobs not asked for
  std::vector<token_logprob> top;  ///< descending by logprob, ties by ascending id
};

}  // namespace troupe
