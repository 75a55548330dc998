// What is not a completion: errors, the model list, tokenize and detokenize.
#include <fmt/format.h>

#include "runtime/messages/json_text.hpp"
#include "runtime/messages/openai.hpp"
#include "runtime/messages/openai_body.hpp"
#include "runtime/messages/openai_chat.hpp"

namespace troupe {
namespace {

// The names that the openai client and vLLM use.
std::string_view error_type(errc code) {
  switch (code) {
    case errc::invalid_argument:
    case errc::corrupt:
    case errc::unsupported: return "BadRequestError";
    case errc::unauthorized: return "AuthenticationError";
    case errc::not_found: return "NotFoundError";
    case errc::already_exists: return "ConflictError";
    case errc::permission_denied: return "PermissionDeniedError";
    case errc::overloaded:
    case errc::rate_limited: return "RateLimitError";
    case errc::unavailable:
    case errc::out_of_memory: return "ServiceUnavailableError";
    case errc::deadline_unmeetable: return "UnprocessableEntityError";
    case errc::deadline_exceeded: return "TimeoutError";
    case errc::slow_client:
    case errc::aborted: return "RequestAbortedError";
    case errc::internal: return "InternalServerError";
  }
  return "InternalServerError";
}

void append_ids(std::string& out, const std::vector<std::int64_t>& ids) {
  out += '[';
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += ',';
    append_json_number(out, ids[i]);
  }
  out += ']';
}

}  // namespace

unsigned http_status_of(errc code) {
  switch (code) {
    case errc::invalid_argument:
    case errc::corrupt:
    case errc::unsupported: return 400;
    case errc::unauthorized: return 401;
    case errc::permission_denied: return 403;
    case errc::not_found: return 404;
    case errc::slow_client: return 408;
    case errc::already_exists: return 409;
    case errc::deadline_unmeetable: return 422;  // a status that clients do not retry by themselves
    case errc::overloaded:
    case errc::rate_limited: return 429;
    case errc::aborted: return 499;  // nginx's "client closed request"
    case errc::internal: return 500;
    case errc::out_of_memory:
    case errc::unavailable: return 503;
    case errc::deadline_exceeded: return 504;
  }
  return 500;
}

std::string openai_error(const error& failure, unsigned status) {
  std::string out = "{\"error\":{\"message\":";
  append_json_string(out, failure.message);
  out += ",\"type\":";
  append_json_string(out, error_type(failure.code));
  out += ",\"param\":null,\"code\":";
  append_json_number(out, std::uint64_t{status != 0 ? status : http_status_of(failure.code)});
  out += ",\"reason\":";
  append_json_string(out, to_string(failure.code));
  out += "}}";
  return out;
}

std::string openai_models(std::string_view model, std::int64_t created,
                          std::uint32_t max_model_len) {
  std::string out = "{\"object\":\"list\",\"data\":[{\"id\":";
  append_json_string(out, model);
  out += ",\"object\":\"model\",\"created\":";
  append_json_number(out, created);
  out += ",\"owned_by\":\"troupe\",\"root\":";
  append_json_string(out, model);
  out += ",\"parent\":null,\"max_model_len\":";
  append_json_number(out, std::uint64_t{max_model_len});
  out += ",\"permission\":[]}]}";
  return out;
}

result<tokenize_request> parse_tokenize_request(std::string_view text) {
  TROUPE_TRY(const auto object, parse_openai_object(text));
  openai_body body(object);
  tokenize_request out;
  body.read("model", out.prompt.model);
  body.read("return_token_strs", out.return_token_strs);
  const bool chat = body.find("messages") != nullptr;
  if (chat == (body.find("prompt") != nullptr)) {
    body.fail("exactly one of `prompt` and `messages` must be given");
  } else if (chat) {
    out.prompt.add_special_tokens = false;  // the template writes them
    read_openai_chat(body, out.prompt);
  } else {
    body.read("prompt", out.prompt.prompt);
  }
  body.read("add_special_tokens", out.prompt.add_special_tokens);
  TROUPE_TRY_VOID(body.take());
  return out;
}

std::string tokenize_reply(const std::vector<std::int64_t>& ids, std::uint32_t max_model_len,
                           const std::vector<std::string>* token_texts) {
  std::string out = "{\"count\":";
  append_json_number(out, std::uint64_t{ids.size()});
  out += ",\"max_model_len\":";
  append_json_number(out, std::uint64_t{max_model_len});
  out += ",\"tokens\":";
  append_ids(out, ids);
  out += ",\"token_strs\":";
  if (token_texts == nullptr) {
    out += "null";
  } else {
    out += '[';
    for (std::size_t i = 0; i < token_texts->size(); ++i) {
      if (i > 0) out += ',';
      append_json_string(out, (*token_texts)[i]);
    }
    out += ']';
  }
  out += '}';
  return out;
}

result<std::vector<std::int64_t>> parse_detokenize_request(std::string_view text) {
  TROUPE_TRY(const auto object, parse_openai_object(text));
  openai_body body(object);
  std::vector<std::int64_t> ids;
  if (body.find("tokens") == nullptr) body.fail("`tokens` is required");
  body.read("tokens", ids);
  TROUPE_TRY_VOID(body.take());
  for (const std::int64_t id : ids) {
    if (id < 0) {
      return error{errc::invalid_argument,
                   fmt::format("`tokens` must hold token ids from 0, got {}", id)};
    }
  }
  return ids;
}

std::string detokenize_reply(std::string_view text) {
  std::string out = "{\"prompt\":";
  append_json_string(out, text);
  out += '}';
  return out;
}

}  // namespace troupe
