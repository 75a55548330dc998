// Bodies of POST /v1/completions and /v1/chat/completions. Ranges are not checked here:
// validate.hpp does that for HTTP and ZeroMQ alike.
#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/messages/openai.hpp"
#include "runtime/messages/openai_body.hpp"
#include "runtime/messages/openai_chat.hpp"

namespace troupe {
namespace {

using json = nlohmann::ordered_json;

void read_sampling(openai_body& body, submit& out) {
  body.read("model", out.model);
  body.read("priority", out.priority);
  body.read("due_ms", out.due_ms);
  body.read("n", out.n);
  body.read("min_tokens", out.min_tokens);
  body.read("temperature", out.temperature);
  body.read("top_k", out.top_k);
  body.read("top_p", out.top_p);
  body.read("min_p", out.min_p);
  body.read("repetition_penalty", out.repetition_penalty);
  body.read("presence_penalty", out.presence_penalty);
  body.read("frequency_penalty", out.frequency_penalty);
  body.read("seed", out.seed);
  if (const json* seed = body.find("seed"); out.seed && !fits_int64(*seed)) {
    body.fail(
        fmt::format("`seed` must be in [{}, {}], got {}", INT64_MIN, INT64_MAX, seed->dump()));
  }
  body.read_strings("stop", out.stop);
  body.read("stop_token_ids", out.stop_token_ids);
  body.read("include_stop_str_in_output", out.include_stop_str_in_output);
  body.read("ignore_eos", out.ignore_eos);
  body.read("skip_special_tokens", out.skip_special_tokens);
  body.read("prompt_logprobs", out.prompt_logprobs);
  if (const json* bias = body.find("logit_bias")) {
    if (!bias->is_object()) {
      return body.fail(
          fmt::format("`logit_bias` must be an object, not {}", json_type_name(*bias)));
    }
    for (const auto& [key, value] : bias->items()) {
      if (!value.is_number()) {
        return body.fail(
            fmt::format("`logit_bias` must hold numbers, not {}", json_type_name(value)));
      }
      out.logit_bias[key] = value.get<double>();
    }
  }
}

// What changes the output and is not built: silence would be a wrong answer.
void refuse_unsupported(openai_body& body, std::int64_t n) {
  if (const json* format = body.find("response_format")) {
    const auto type = format->is_object() ? format->find("type") : format->end();
    if (!format->is_object() || type == format->end() || !type->is_string()) {
      return body.fail("`response_format` must be an object with a `type`");
    }
    if (*type != "text") {
      return body.fail(
          {errc::unsupported, fmt::format("`response_format` of type {} is not supported; only "
                                          "\"text\" is",
                                          type->dump().substr(0, 64))});
    }
  }
  for (const std::string_view name :
       {"guided_json", "guided_regex", "guided_choice", "guided_grammar", "structural_tag",
        "structured_outputs", "use_beam_search", "truncate_prompt_tokens", "prompt_embeds",
        "allowed_token_ids", "bad_words", "logits_processors", "documents"}) {
    body.refuse(name);
  }
  std::int64_t best_of = n;
  body.read("best_of", best_of);
  if (!body.failed() && best_of != n) {
    body.fail({errc::unsupported,
               fmt::format("`best_of` must equal `n`={} where it is given, got {}", n, best_of)});
  }
}

void read_streaming(openai_body& body, openai_request& out) {
  body.read("stream", out.stream);
  const json* options = body.find("stream_options");
  if (options == nullptr) return;
  if (!options->is_object()) {
    return body.fail(
        fmt::format("`stream_options` must be an object, not {}", json_type_name(*options)));
  }
  if (!out.stream) return body.fail("Stream options can only be defined when `stream=True`.");
  openai_body inner(*options);
  inner.read("include_usage", out.include_usage);
  inner.read("continuous_usage_stats", out.continuous_usage_stats);
  if (const auto outcome = inner.take(); !outcome) body.fail(outcome.failure());
}

void read_service(openai_body& body, openai_request& out) {
  std::optional<std::string> service;
  body.read("lane", service);
  if (service) {
    const auto known = parse_lane(*service);
    if (!known) return body.fail("`lane` must be \"vip\", \"realtime\" or \"async\"");
    out.service = *known;
  }
  std::optional<std::int64_t> deadline_ms;
  body.read("deadline_ms", deadline_ms);
  if (!deadline_ms) return;
  if (*deadline_ms < 1 || static_cast<std::uint64_t>(*deadline_ms) > limits::deadline_ms_max) {
    return body.fail(fmt::format("`deadline_ms` must be in [1, {}], got {}",
                                 limits::deadline_ms_max, body.find("deadline_ms")->dump()));
  }
  out.deadline_ms = static_cast<std::uint64_t>(*deadline_ms);
}

std::optional<std::uint32_t> narrowed(const std::optional<std::int64_t>& value) {
  // validate.hpp refuses what is out of range; until then it must only not wrap into it.
  if (!value || *value < 0 || *value > limits::logprobs_max) return std::nullopt;
  return static_cast<std::uint32_t>(*value);
}

// Before an echo asks for them: its events carry them as logprobs.
void check_stream(openai_body& body, const submit& shared, bool stream) {
  if (stream && shared.prompt_logprobs) {
    body.fail("`prompt_logprobs` are not available when `stream=True`.");
  }
}

result<std::vector<std::int64_t>> token_ids_of(const json& list, std::string_view name) {
  std::vector<std::int64_t> ids;
  ids.reserve(list.size());
  for (const json& each : list) {
    const auto id = json_integer(each);
    if (!id) {
      return error{errc::invalid_argument,
                   fmt::format("`{}` holds {} among token ids", name, json_type_name(each))};
    }
    ids.push_back(*id);
  }
  return ids;
}

// A string, an array of strings, an array of token ids, or an array of arrays of token ids.
result<std::vector<submit>> read_prompts(const json& prompt, const submit& shared) {
  std::vector<submit> out;
  const auto add_ids = [&](const json& list, std::string_view name) -> result<void> {
    TROUPE_TRY(auto ids, token_ids_of(list, name));
    out.push_back(shared);
    out.back().prompt_token_ids = std::move(ids);
    return {};
  };
  const auto add_text = [&](const json& text) {
    out.push_back(shared);
    out.back().prompt = text.get<std::string>();
  };
  if (prompt.is_string()) {
    add_text(prompt);
    return out;
  }
  if (!prompt.is_array() || prompt.empty()) {
    return error{errc::invalid_argument,
                 "`prompt` must be a string, or an array of strings, token ids or arrays of token "
                 "ids that is not empty"};
  }
  if (prompt.front().is_number()) {
    TROUPE_TRY_VOID(add_ids(prompt, "prompt"));
    return out;
  }
  if (prompt.size() > limits::prompts_per_request_max) {
    return error{errc::invalid_argument,
                 fmt::format("`prompt` has {} prompts; at most {} are accepted", prompt.size(),
                             limits::prompts_per_request_max)};
  }
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    if (prompt[i].is_string() && prompt.front().is_string()) {
      add_text(prompt[i]);
    } else if (prompt[i].is_array() && prompt.front().is_array()) {
      TROUPE_TRY_VOID(add_ids(prompt[i], fmt::format("prompt[{}]", i)));
    } else {
      return error{errc::invalid_argument,
                   "`prompt` mixes kinds: all of its elements must be "
                   "strings, token ids or arrays of token ids"};
    }
  }
  return out;
}

result<void> read_completion(openai_body& body, submit& shared, openai_request& out) {
  shared.max_tokens = 16;  // OpenAI's default for this endpoint
  body.read("max_tokens", shared.max_tokens);
  body.read("add_special_tokens", shared.add_special_tokens);
  body.read("echo", shared.echo);
  body.read("logprobs", shared.logprobs);
  body.refuse("suffix", "is not currently supported");
  if (shared.echo && shared.logprobs && !shared.prompt_logprobs) {
    shared.prompt_logprobs = shared.logprobs;
  }
  TROUPE_TRY_VOID(body.take());
  const json* prompt = body.find("prompt");
  if (prompt == nullptr) return error{errc::invalid_argument, "`prompt` is required"};
  TROUPE_TRY(out.prompts, read_prompts(*prompt, shared));
  for (submit& each : out.prompts)
    each.sibling_count = static_cast<std::uint32_t>(out.prompts.size());
  const auto n = static_cast<std::size_t>(std::max<std::int64_t>(shared.n, 1));
  if (n <= static_cast<std::size_t>(limits::n_max) &&
      n * out.prompts.size() > limits::choices_per_request_max) {
    return error{errc::invalid_argument,
                 fmt::format("{} prompts with n={} are {} choices; at most {} are accepted",
                             out.prompts.size(), n, n * out.prompts.size(),
                             limits::choices_per_request_max)};
  }
  return {};
}

result<void> read_chat_completion(openai_body& body, submit& shared, openai_request& out) {
  body.read("max_tokens", shared.max_tokens);
  body.read("max_completion_tokens", shared.max_tokens);
  shared.add_special_tokens = false;  // the template writes them
  body.read("add_special_tokens", shared.add_special_tokens);
  bool wants_logprobs = false;
  std::optional<std::int64_t> top;
  body.read("logprobs", wants_logprobs);
  body.read("top_logprobs", top);
  if (top && *top != 0 && !wants_logprobs) {
    body.fail("when using `top_logprobs`, `logprobs` must be set to true.");
  }
  if (wants_logprobs) shared.logprobs = top.value_or(0);
  read_openai_chat(body, shared);
  TROUPE_TRY_VOID(body.take());
  out.prompts.push_back(std::move(shared));
  return {};
}

}  // namespace

result<openai_request> parse_openai_request(openai_endpoint endpoint, std::string_view text) {
  TROUPE_TRY(const auto object, parse_openai_object(text));
  openai_body body(object);
  openai_request out;
  out.endpoint = endpoint;
  submit shared;
  read_sampling(body, shared);
  refuse_unsupported(body, shared.n);
  read_streaming(body, out);
  check_stream(body, shared, out.stream);
  read_service(body, out);
  if (endpoint == openai_endpoint::completions) {
    TROUPE_TRY_VOID(read_completion(body, shared, out));
  } else {
    TROUPE_TRY_VOID(read_chat_completion(body, shared, out));
  }
  out.logprobs = narrowed(out.prompts.front().logprobs);
  return out;
}

}  // namespace troupe
