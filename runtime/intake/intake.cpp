#include "runtime/intake/intake.hpp"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace troupe {
namespace {

using json = chat_template::json;

/// A member of the request that is JSON as text; the codecs checked its size and depth.
result<json> parse_member(std::string_view name, const std::string& text, json::value_t kind) {
  json value = json::parse(text, nullptr, false);
  if (value.is_discarded()) {
    return error{errc::invalid_argument, fmt::format("{} is not valid JSON", name)};
  }
  if (value.type() != kind) {
    return error{
        errc::invalid_argument,
        fmt::format("{} must be {}, got {}", name,
                    kind == json::value_t::array ? "an array" : "an object", value.type_name())};
  }
  return value;
}

std::string text_of(const tokenizer& tokens, std::optional<token_id> id) {
  return id ? std::string(tokens.token_text(*id)) : std::string{};
}

error out_of_vocabulary(std::int64_t id, std::size_t vocab_size) {
  return {errc::invalid_argument,
          fmt::format("token id {} is not in the model's vocabulary of {}", id, vocab_size)};
}

/// Every id must have a row in the model: the last check before ids index memory.
result<void> check_ids(std::span<const token_id> ids, std::size_t vocab_size) {
  for (const token_id id : ids) {
    const auto value = static_cast<std::int64_t>(id);
    if (value < 0 || static_cast<std::size_t>(value) >= vocab_size) {
      return out_of_vocabulary(value, vocab_size);
    }
  }
  return {};
}

/// Range first: an id beyond 32 bits must not become another one.
result<std::vector<token_id>> narrow_ids(const std::vector<std::int64_t>& ids,
                                         std::size_t vocab_size) {
  std::vector<token_id> tokens;
  tokens.reserve(ids.size());
  for (const std::int64_t id : ids) {
    if (id < 0 || static_cast<std::uint64_t>(id) >= vocab_size) {
      return out_of_vocabulary(id, vocab_size);
    }
    tokens.push_back(static_cast<token_id>(id));
  }
  return tokens;
}

}  // namespace

intake::intake(std::shared_ptr<const tokenizer> tokens, std::shared_ptr<const chat_template> chat,
               request_bounds bounds)
    : tokens_(std::move(tokens)), chat_(std::move(chat)), bounds_(std::move(bounds)) {
  TROUPE_CHECK(tokens_ != nullptr);
}

result<prepared_prompt> intake::prepare(const submit& request, std::uint64_t drawn_seed,
                                        std::chrono::sys_seconds now) const {
  TROUPE_TRY(generation_params params, validate_submit(request, bounds_, drawn_seed));
  TROUPE_TRY(std::vector<token_id> prompt, tokenize(request, now));
  TROUPE_TRY_VOID(fit_to_context(params, request.max_tokens.has_value(), prompt.size(), bounds_));
  TROUPE_TRY_VOID(check_logprob_entries(params, prompt.size(), request.sibling_count));
  return prepared_prompt{std::make_shared<const std::vector<token_id>>(std::move(prompt)),
                         std::make_shared<const generation_params>(std::move(params))};
}

result<std::vector<token_id>> intake::tokenize(const submit& request,
                                               std::chrono::sys_seconds now) const {
  if (request.prompt_token_ids) return narrow_ids(*request.prompt_token_ids, bounds_.vocab_size);
  std::vector<token_id> ids;
  if (request.messages_json) {
    TROUPE_TRY(const std::string text, render(request, now));
    ids = tokens_->encode(text, {.parse_special = true, .add_special = false});
  } else if (request.prompt) {
    ids = tokens_->encode(*request.prompt,
                          {.parse_special = true, .add_special = request.add_special_tokens});
  } else {
    return error{errc::invalid_argument,
                 "exactly one of prompt, prompt_token_ids and messages must be given"};
  }
  TROUPE_TRY_VOID(check_ids(ids, bounds_.vocab_size));
  return ids;
}

result<std::string> intake::render(const submit& request, std::chrono::sys_seconds now) const {
  if (chat_ == nullptr) {
    return error{errc::invalid_argument,
                 "the model has no chat template: send a prompt instead of messages"};
  }
  chat_template::inputs values;
  TROUPE_TRY(values.messages,
             parse_member("messages", *request.messages_json, json::value_t::array));
  if (request.tools_json) {
    TROUPE_TRY(values.tools, parse_member("tools", *request.tools_json, json::value_t::array));
  }
  if (request.chat_template_kwargs_json) {
    TROUPE_TRY(values.extra,
               parse_member("chat_template_kwargs", *request.chat_template_kwargs_json,
                            json::value_t::object));
  }
  values.add_generation_prompt = request.add_generation_prompt;
  values.bos_token = text_of(*tokens_, tokens_->bos());
  values.eos_token = text_of(*tokens_, tokens_->eos());
  values.now = now;
  return chat_->render(values);
}

result<std::string> intake::detokenize(const std::vector<std::int64_t>& ids) const {
  TROUPE_TRY(const std::vector<token_id> tokens, narrow_ids(ids, bounds_.vocab_size));
  return tokens_->decode(tokens, false);
}

}  // namespace troupe
