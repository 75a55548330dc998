// OpenAI's HTTP bodies as Troupe messages and back, as vLLM's server understands and writes them.
// Pure functions on text; sockets are in actors/gateway. Unknown parameters are ignored, as vLLM
// does; wrong types and malformed JSON or UTF-8 are errors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/result.hpp"
#include "runtime/messages/request.hpp"
#include "runtime/schedule/lane.hpp"

namespace troupe {

enum class openai_endpoint : std::uint8_t { completions, chat_completions };

struct openai_request {
  std::vector<submit> prompts;  ///< one for each prompt (completions take arrays); at least one
  openai_endpoint endpoint = openai_endpoint::completions;
  bool stream = false;
  bool include_usage = false;           ///< stream_options.include_usage
  bool continuous_usage_stats = false;  ///< stream_options.continuous_usage_stats
  std::optional<std::uint32_t>
      logprobs;                 ///< completions: n; chat: top_logprobs, where logprobs is true
  std::optional<lane> service;  ///< body field `lane`
  std::optional<std::uint64_t> deadline_ms;  ///< body field `deadline_ms`
};

result<openai_request> parse_openai_request(openai_endpoint endpoint, std::string_view body);

/// What every reply of one HTTP request shares.
struct openai_reply_context {
  openai_endpoint endpoint = openai_endpoint::completions;
  std::string id;  ///< "cmpl-..." or "chatcmpl-..."
  std::string model;
  std::int64_t created = 0;  ///< seconds since 1970
  bool wants_logprobs = false;
  bool echo =
      false;  ///< completions: logprobs begin with the prompt's tokens, the first of them null
};

struct openai_usage {
  std::uint64_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0;
};

/// One collected choice of a reply that is not streamed.
struct openai_choice {
  std::uint32_t index = 0;  ///< prompt index * n + sequence
  std::string text;
  std::vector<position_logprobs> logprobs;
  std::vector<position_logprobs> prompt_logprobs;
  std::string first_prompt_token;  ///< text of prompt token 0, which has no logprob; only with echo
  std::string finish_reason;
  std::optional<std::string> stop_reason;
};

std::string openai_reply(const openai_reply_context& context,
                         const std::vector<openai_choice>& choices, const openai_usage& usage);
/// One `data: {...}\n\n` chunk for a delta. first: chat's first chunk of a choice carries the role.
/// text_offset: characters of the tokens of this choice that earlier chunks reported (completions
/// with logprobs).
std::string openai_chunk(const openai_reply_context& context, std::uint32_t choice_index,
                         const delta& part, bool first, const openai_usage* usage,
                         std::size_t text_offset = 0);
/// The closing usage chunk (empty choices) and the terminator.
std::string openai_usage_chunk(const openai_reply_context& context, const openai_usage& usage);
inline constexpr std::string_view openai_done = "data: [DONE]\n\n";

/// {"error": {"message", "type", "param", "code", "reason"}}, as vLLM's: type is the class of
/// OpenAI's client, code the HTTP status. reason, the name of the error code, is ours.
std::string openai_error(const error& failure,
                         unsigned status = 0);  ///< 0: http_status_of its code
/// invalid_argument 400, unauthorized 401, not_found 404, overloaded 429, unavailable 503, ...
unsigned http_status_of(errc code);

/// GET /v1/models.
std::string openai_models(std::string_view model, std::int64_t created,
                          std::uint32_t max_model_len);

/// POST /tokenize: {"prompt": text} or {"messages": [...]}, add_special_tokens; reply as vLLM's.
struct tokenize_request {
  submit prompt;
  bool return_token_strs = false;
};
result<tokenize_request> parse_tokenize_request(std::string_view body);
std::string tokenize_reply(const std::vector<std::int64_t>& ids, std::uint32_t max_model_len,
                           const std::vector<std::string>* token_texts);
/// POST /detokenize: {"tokens": [...]}; reply {"prompt": text}.
result<std::vector<std::int64_t>> parse_detokenize_request(std::string_view body);
std::string detokenize_reply(std::string_view text);

}  // namespace troupe
