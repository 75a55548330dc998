// The rules, one after the other, in the words of vLLM's SamplingParams where it has the rule.
#include "runtime/messages/validate.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/messages/text_check.hpp"

namespace troupe {
namespace {

template <class... Args>
error invalid(fmt::format_string<Args...> format, Args&&... args) {
  return {errc::invalid_argument, fmt::format(format, std::forward<Args>(args)...)};
}

struct closed_range {
  double low, high;
};

// NaN fails both comparisons.
result<void> check_range(std::string_view name, double value, closed_range range) {
  if (value >= range.low && value <= range.high) return {};
  return invalid("{} must be in [{}, {}], got {}.", name, range.low, range.high, value);
}

result<void> check_prompt(const submit& request, const request_bounds& bounds) {
  const int kinds = int{request.prompt.has_value()} + int{request.prompt_token_ids.has_value()} +
                    int{request.messages_json.has_value()};
  if (kinds != 1) {
    return invalid("exactly one of prompt, prompt_token_ids and messages must be given, got {}.",
                   kinds);
  }
  const std::size_t bytes = request.prompt          ? request.prompt->size()
                            : request.messages_json ? request.messages_json->size()
                                                    : 0;
  if (bytes > limits::prompt_bytes_max) {
    return invalid("the prompt has {} bytes; at most {} are accepted.", bytes,
                   limits::prompt_bytes_max);
  }
  if (request.prompt_token_ids) {
    for (const std::int64_t id : *request.prompt_token_ids) {
      if (id < 0 || static_cast<std::uint64_t>(id) >= bounds.vocab_size) {
        return invalid("Token id {} is out of vocabulary: prompt_token_ids must be in [0, {}).", id,
                       bounds.vocab_size);
      }
    }
  }
  if (!request.messages_json) {
    if (request.tools_json) return invalid("tools are only accepted together with messages.");
    if (request.chat_template_kwargs_json) {
      return invalid("chat_template_kwargs are only accepted together with messages.");
    }
  } else if (request.echo) {
    return invalid("echo is only accepted for prompts, not for messages.");
  }
  return {};
}

result<void> check_model(const submit& request, const request_bounds& bounds) {
  if (request.model.empty() || request.model == bounds.served_model_name) return {};
  return error{errc::not_found,
               fmt::format("The model `{}` does not exist; this server has `{}`.",
                           request.model.substr(0, 128), bounds.served_model_name)};
}

result<void> check_sampling(const submit& request) {
  if (!(request.temperature >= 0.0)) {
    return invalid("temperature must be non-negative, got {}.", request.temperature);
  }
  if (request.temperature > limits::temperature_max) {
    return invalid("temperature must be at most {}, got {}.", limits::temperature_max,
                   request.temperature);
  }
  if (!(request.top_p > 0.0 && request.top_p <= 1.0)) {
    return invalid("top_p must be in (0, 1], got {}.", request.top_p);
  }
  if (request.top_k < -1 || request.top_k > INT32_MAX) {
    return invalid("top_k must be 0 or -1 (disable), or at least 1, got {}.", request.top_k);
  }
  TROUPE_TRY_VOID(check_range("min_p", request.min_p, {0.0, 1.0}));
  TROUPE_TRY_VOID(check_range("repetition_penalty", request.repetition_penalty,
                              {limits::repetition_penalty_min, limits::repetition_penalty_max}));
  const closed_range penalties{-limits::penalty_abs_max, limits::penalty_abs_max};
  TROUPE_TRY_VOID(check_range("presence_penalty", request.presence_penalty, penalties));
  return check_range("frequency_penalty", request.frequency_penalty, penalties);
}

result<void> check_logprobs(std::string_view name, const std::optional<std::int64_t>& count) {
  if (!count) return {};
  if (*count < 0) return invalid("{} must be non-negative, got {}.", name, *count);
  if (*count > limits::logprobs_max) {
    return invalid("Requested {} of {}, which is greater than max allowed: {}.", name, *count,
                   limits::logprobs_max);
  }
  return {};
}

result<void> check_lengths(const submit& request, const request_bounds& bounds) {
  if (request.max_tokens) {
    // An echo without any output scores a prompt (as in vLLM).
    const bool scores_only = request.echo && *request.max_tokens == 0;
    if (*request.max_tokens < 1 && !scores_only) {
      return invalid("max_tokens must be at least 1, got {}. With echo it may be 0.",
                     *request.max_tokens);
    }
    if (*request.max_tokens > bounds.max_model_len) {
      return invalid(
          "max_tokens is too large: {}. This model's maximum context length is {} tokens.",
          *request.max_tokens, bounds.max_model_len);
    }
  }
  if (request.min_tokens < 0) {
    return invalid("min_tokens must be greater than or equal to 0, got {}.", request.min_tokens);
  }
  const std::int64_t most = request.max_tokens.value_or(bounds.max_model_len);
  if (request.min_tokens > most) {
    return invalid("min_tokens must be less than or equal to max_tokens={}, got {}.", most,
                   request.min_tokens);
  }
  return {};
}

result<void> check_stop(const submit& request, const request_bounds& bounds) {
  if (request.stop.size() > limits::stop_count_max) {
    return invalid("stop has {} strings; at most {} are accepted.", request.stop.size(),
                   limits::stop_count_max);
  }
  for (const std::string& text : request.stop) {
    if (text.empty()) return invalid("stop cannot contain an empty string.");
    if (text.size() > limits::stop_bytes_max) {
      return invalid("a stop string has {} bytes; at most {} are accepted.", text.size(),
                     limits::stop_bytes_max);
    }
    if (!is_utf8(text)) return invalid("a stop string is not valid UTF-8.");
  }
  if (request.stop_token_ids.size() > limits::stop_token_ids_max) {
    return invalid("stop_token_ids has {} ids; at most {} are accepted.",
                   request.stop_token_ids.size(), limits::stop_token_ids_max);
  }
  for (const std::int64_t id : request.stop_token_ids) {
    if (id < 0 || static_cast<std::uint64_t>(id) >= bounds.vocab_size) {
      return invalid("stop_token_ids must be in [0, {}), got {}.", bounds.vocab_size, id);
    }
  }
  return {};
}

result<std::vector<std::pair<token_id, float>>> read_logit_bias(const submit& request,
                                                                const request_bounds& bounds) {
  if (request.logit_bias.size() > limits::logit_bias_count_max) {
    return invalid("logit_bias has {} entries; at most {} are accepted.", request.logit_bias.size(),
                   limits::logit_bias_count_max);
  }
  std::vector<std::pair<token_id, float>> out;
  out.reserve(request.logit_bias.size());
  for (const auto& [key, bias] : request.logit_bias) {
    std::int32_t id = -1;
    const char* end = key.data() + key.size();
    const auto parsed = std::from_chars(key.data(), end, id);
    // "007" would name token 7 a second time.
    const bool canonical = key == "0" || (!key.empty() && key.front() != '0');
    if (parsed.ec != std::errc{} || parsed.ptr != end || !canonical || id < 0 ||
        static_cast<std::size_t>(id) >= bounds.vocab_size) {
      return invalid("logit_bias keys must be token ids in [0, {}) as decimal text, got \"{}\".",
                     bounds.vocab_size, key.substr(0, 32));
    }
    TROUPE_TRY_VOID(check_range(fmt::format("logit_bias of token {}", id), bias,
                                {-limits::logit_bias_abs_max, limits::logit_bias_abs_max}));
    out.emplace_back(static_cast<token_id>(id), static_cast<float>(bias));
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::optional<std::uint32_t> narrowed(const std::optional<std::int64_t>& value) {
  if (!value) return std::nullopt;
  return static_cast<std::uint32_t>(*value);
}

sampling_params sampling_of(const submit& request, const request_bounds& bounds,
                            std::uint64_t drawn_seed) {
  sampling_params out;
  out.temperature = static_cast<float>(request.temperature);
  // More than the vocabulary is all of it.
  const auto vocabulary = static_cast<std::int64_t>(bounds.vocab_size);
  out.top_k = static_cast<std::int32_t>(std::min(std::max<std::int64_t>(request.top_k, 0),
                                                 std::min<std::int64_t>(vocabulary, INT32_MAX)));
  // A positive double can round to zero, which would not be in (0, 1].
  out.top_p = std::max(static_cast<float>(request.top_p), std::numeric_limits<float>::min());
  out.min_p = static_cast<float>(request.min_p);
  out.repetition_penalty = static_cast<float>(request.repetition_penalty);
  out.presence_penalty = static_cast<float>(request.presence_penalty);
  out.frequency_penalty = static_cast<float>(request.frequency_penalty);
  // -1 means "none" to vLLM's clients.
  out.seed =
      request.seed && *request.seed != -1 ? static_cast<std::uint64_t>(*request.seed) : drawn_seed;
  out.logprobs = narrowed(request.logprobs);
  out.prompt_logprobs = narrowed(request.prompt_logprobs);
  return out;
}

stopping_params stopping_of(const submit& request, const request_bounds& bounds) {
  stopping_params out;
  out.max_tokens =
      static_cast<std::uint32_t>(request.max_tokens.value_or(std::int64_t{bounds.max_model_len}));
  out.min_tokens = static_cast<std::uint32_t>(request.min_tokens);
  out.ignore_eos = request.ignore_eos;
  const std::set<std::int64_t> ids(request.stop_token_ids.begin(), request.stop_token_ids.end());
  for (const std::int64_t id : ids) out.stop_token_ids.push_back(static_cast<token_id>(id));
  out.stop = request.stop;
  out.include_stop_str_in_output = request.include_stop_str_in_output;
  return out;
}

}  // namespace

result<generation_params> validate_submit(const submit& request, const request_bounds& bounds,
                                          std::uint64_t drawn_seed) {
  TROUPE_TRY_VOID(check_model(request, bounds));
  TROUPE_TRY_VOID(check_prompt(request, bounds));
  if (request.n < 1 || request.n > limits::n_max) {
    return invalid("n must be in [1, {}], got {}.", limits::n_max, request.n);
  }
  TROUPE_TRY_VOID(check_sampling(request));
  if (request.n > 1 && request.temperature == 0.0) {
    return invalid("n must be 1 when using greedy sampling, got {}.", request.n);
  }
  if (std::abs(static_cast<double>(request.priority)) >
      static_cast<double>(limits::priority_abs_max)) {
    return invalid("priority must be in [-{0}, {0}], got {1}.", limits::priority_abs_max,
                   request.priority);
  }
  constexpr auto due_ms_max = static_cast<std::int64_t>(limits::deadline_ms_max);
  if (request.due_ms && (*request.due_ms < 1 || *request.due_ms > due_ms_max))
    return invalid("due_ms must be in [1, {}], got {}.", due_ms_max, *request.due_ms);
  TROUPE_TRY_VOID(check_logprobs("logprobs", request.logprobs));
  TROUPE_TRY_VOID(check_logprobs("prompt_logprobs", request.prompt_logprobs));
  TROUPE_TRY_VOID(check_lengths(request, bounds));
  TROUPE_TRY_VOID(check_stop(request, bounds));
  TROUPE_TRY(auto bias, read_logit_bias(request, bounds));

  generation_params out;
  out.n = static_cast<std::uint32_t>(request.n);
  out.sampling = sampling_of(request, bounds, drawn_seed);
  out.sampling.logit_bias = std::move(bias);
  out.stopping = stopping_of(request, bounds);
  out.skip_special_tokens = request.skip_special_tokens;
  out.echo = request.echo;
  return out;
}

result<void> fit_to_context(generation_params& params, bool max_tokens_given,
                            std::size_t prompt_tokens, const request_bounds& bounds) {
  const std::size_t context = bounds.max_model_len;
  if (prompt_tokens == 0) return invalid("The prompt cannot be empty: it has no tokens.");
  stopping_params& stopping = params.stopping;
  const std::size_t least = stopping.max_tokens == 0 ? 0 : 1;
  if (prompt_tokens + least > context) {
    return invalid(
        "This model's maximum context length is {} tokens. However, your request has {} input "
        "tokens, which leaves no room for output. Please reduce the length of the input.",
        context, prompt_tokens);
  }
  const std::size_t room = context - prompt_tokens;
  if (max_tokens_given && stopping.max_tokens > room) {
    return invalid(
        "'max_tokens' or 'max_completion_tokens' is too large: {0}. This model's maximum context "
        "length is {1} tokens and your request has {2} input tokens ({0} > {1} - {2}).",
        stopping.max_tokens, context, prompt_tokens);
  }
  stopping.max_tokens =
      static_cast<std::uint32_t>(std::min<std::size_t>(stopping.max_tokens, room));
  if (stopping.min_tokens > stopping.max_tokens) {
    return invalid(
        "min_tokens must be less than or equal to the {} tokens that fit after the prompt, got {}.",
        stopping.max_tokens, stopping.min_tokens);
  }
  return {};
}

result<void> check_logprob_entries(const generation_params& params, std::size_t prompt_tokens,
                                   std::uint32_t sibling_count) {
  const auto entries = [](const std::optional<std::uint32_t>& alternatives,
                          std::uint64_t positions) {
    return alternatives ? (std::uint64_t{*alternatives} + 1) * positions : 0;
  };
  const std::uint64_t asked =
      params.n * (entries(params.sampling.prompt_logprobs, prompt_tokens) +
                  entries(params.sampling.logprobs, params.stopping.max_tokens));
  const std::uint64_t share = limits::logprob_entries_max / sibling_count;
  if (asked <= share) return {};
  return invalid(
      "The request asks for up to {} entries of logprobs ({} prompt tokens, max_tokens={}, n={}); "
      "at most {} are "
      "accepted for each of {} prompts. Please lower logprobs, prompt_logprobs, max_tokens or n, "
      "or send fewer "
      "prompts at once.",
      asked, prompt_tokens, params.stopping.max_tokens, params.n, share, sibling_count);
}

}  // namespace troupe
