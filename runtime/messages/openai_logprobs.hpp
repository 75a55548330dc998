// The two shapes of logprobs in OpenAI's replies, appended to JSON text that is being written.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "runtime/messages/request.hpp"

namespace troupe {

/// What a completion's logprobs report, in order: where first_token is given the prompt (its first
/// token has no logprob), then the output.
struct completion_logprobs {
  const std::string_view* first_token = nullptr;
  std::span<const position_logprobs> prompt;
  std::span<const position_logprobs> output;
  std::size_t text_offset = 0;  ///< characters before the first token reported here
};

/// {"text_offset", "token_logprobs", "tokens", "top_logprobs"}; offsets count characters, as vLLM's
/// do.
void append_completion_logprobs(std::string& out, const completion_logprobs& part);

/// {"content": [{"token", "logprob", "bytes", "top_logprobs": [...]}]}.
void append_chat_logprobs(std::string& out, std::span<const position_logprobs> positions);

/// vLLM's prompt_logprobs: null for the first token, then {"<token id>": {"logprob", "rank",
/// "decoded_token"}}.
void append_prompt_logprobs(std::string& out, std::span<const position_logprobs> positions);

}  // namespace troupe
