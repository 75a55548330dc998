// Replies and chunks, compared as JSON trees with what vLLM's server writes for the same content.
#include <limits>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "runtime/messages/openai.hpp"

using namespace troupe;
using nlohmann::json;

namespace {

openai_reply_context context_of(openai_endpoint endpoint, bool logprobs = false) {
  return {.endpoint = endpoint,
          .id = "cmpl-1",
          .model = "m\"x",
          .created = 1700000000,
          .wants_logprobs = logprobs,
          .echo = false};
}

logprob_entry entry(std::int64_t id, const std::string& token, double logprob, std::uint64_t rank) {
  return {id, token, {token.begin(), token.end()}, logprob, rank};
}

position_logprobs position(const logprob_entry& chosen, std::vector<logprob_entry> top) {
  return {chosen, std::move(top)};
}

json of_chunk(const std::string& chunk) {
  REQUIRE(chunk.starts_with("data: "));
  REQUIRE(chunk.ends_with("\n\n"));
  return json::parse(chunk.substr(6));
}

const openai_usage usage{.prompt_tokens = 5, .completion_tokens = 7, .cached_tokens = 4};
const json usage_json =
    json::parse(R"({"prompt_tokens": 5, "total_tokens": 12, "completion_tokens": 7,
                                        "prompt_tokens_details": {"cached_tokens": 4}})");

}  // namespace

TEST_CASE("a completion") {
  openai_choice first;
  first.text = "hé\n";
  first.finish_reason = "length";
  openai_choice second;
  second.index = 1;
  second.finish_reason = "stop";
  second.stop_reason = "END";
  const json reply =
      json::parse(openai_reply(context_of(openai_endpoint::completions), {first, second}, usage));
  json expected = json::parse(R"({
    "id": "cmpl-1", "object": "text_completion", "created": 1700000000, "model": "m\"x",
    "choices": [
      {"index": 0, "text": "hé\n", "logprobs": null, "finish_reason": "length", "stop_reason": null,
       "prompt_logprobs": null},
      {"index": 1, "text": "", "logprobs": null, "finish_reason": "stop", "stop_reason": "END",
       "prompt_logprobs": null}]})");
  expected["usage"] = usage_json;
  CHECK(reply == expected);
}

TEST_CASE("a completion's logprobs count characters and always hold the chosen token") {
  const double impossible = -std::numeric_limits<double>::infinity();
  openai_choice choice;
  choice.text = "漢b";
  choice.finish_reason = "stop";
  choice.logprobs = {
      position(entry(1, "漢", -0.5, 1), {entry(1, "漢", -0.5, 1), entry(2, "c", -1.5, 2)}),
      position(entry(3, "b", -4.0, 9), {entry(2, "c", impossible, 1)})};
  const json logprobs = json::parse(openai_reply(context_of(openai_endpoint::completions, true),
                                                 {choice}, usage))["choices"][0]["logprobs"];
  CHECK(logprobs == json::parse(R"({"text_offset": [0, 1], "token_logprobs": [-0.5, -4.0],
      "tokens": ["漢", "b"], "top_logprobs": [{"漢": -0.5, "c": -1.5}, {"c": -9999.0, "b": -4.0}]})"));
}

TEST_CASE("echo puts the prompt's tokens first, without a logprob for the first") {
  openai_choice choice;
  choice.text = "Hi there!";
  choice.first_prompt_token = "Hi";
  choice.finish_reason = "stop";
  choice.prompt_logprobs = {position(entry(2, " there", -1.0, 3), {entry(9, " you", -0.2, 1)})};
  choice.logprobs = {position(entry(4, "!", -0.1, 1), {})};
  auto context = context_of(openai_endpoint::completions, true);
  context.echo = true;
  const json made = json::parse(openai_reply(context, {choice}, usage))["choices"][0];
  CHECK(made["logprobs"] == json::parse(R"({"text_offset": [0, 2, 8],
      "token_logprobs": [null, -1.0, -0.1], "tokens": ["Hi", " there", "!"],
      "top_logprobs": [null, {" you": -0.2, " there": -1.0}, {"!": -0.1}]})"));
  CHECK(made["prompt_logprobs"] == json::parse(R"([null,
      {"9": {"logprob": -0.2, "rank": 1, "decoded_token": " you"},
       "2": {"logprob": -1.0, "rank": 3, "decoded_token": " there"}}])"));
}

TEST_CASE("a chat completion") {
  openai_choice choice;
  choice.text = "yes";
  choice.finish_reason = "stop";
  choice.logprobs = {position(entry(1, "é", -0.5, 1), {entry(1, "é", -0.5, 1)})};
  const json reply = json::parse(
      openai_reply(context_of(openai_endpoint::chat_completions, true), {choice}, usage));
  json expected = json::parse(R"({
    "id": "cmpl-1", "object": "chat.completion", "created": 1700000000, "model": "m\"x",
    "choices": [{"index": 0,
      "message": {"role": "assistant", "content": "yes", "refusal": null, "reasoning_content": null,
                  "tool_calls": []},
      "logprobs": {"content": [{"token": "é", "logprob": -0.5, "bytes": [195, 169],
        "top_logprobs": [{"token": "é", "logprob": -0.5, "bytes": [195, 169]}]}]},
      "finish_reason": "stop", "stop_reason": null}], "prompt_logprobs": null})");
  expected["usage"] = usage_json;
  CHECK(reply == expected);
}

TEST_CASE("completion chunks") {
  const auto context = context_of(openai_endpoint::completions);
  delta part;
  part.text = "a\xFF";
  json chunk = of_chunk(openai_chunk(context, 3, part, true, nullptr));
  CHECK(chunk == json::parse(R"({"id": "cmpl-1", "object": "text_completion", "created": 1700000000,
      "model": "m\"x", "choices": [{"index": 3, "text": "a\ufffd", "logprobs": null, "finish_reason": null,
      "stop_reason": null}]})"));
  part.finish_reason = "stop";
  part.stop_reason = "42";
  chunk = of_chunk(openai_chunk(context, 0, part, false, &usage));
  CHECK(chunk["choices"][0]["finish_reason"] == "stop");
  CHECK(chunk["choices"][0]["stop_reason"] == "42");
  CHECK(chunk["usage"] == usage_json);

  part.logprobs = {position(entry(1, "ab", -1.0, 1), {}), position(entry(1, "c", -1.0, 1), {})};
  chunk = of_chunk(
      openai_chunk(context_of(openai_endpoint::completions, true), 0, part, false, nullptr, 10));
  CHECK(chunk["choices"][0]["logprobs"]["text_offset"] == json::parse("[10, 12]"));
}

TEST_CASE("chat chunks") {
  const auto context = context_of(openai_endpoint::chat_completions, true);
  delta part;
  part.text = "a";
  part.logprobs = {position(entry(1, "a", -1.0, 1), {})};
  CHECK(of_chunk(openai_chunk(context, 0, part, true, nullptr)) ==
        json::parse(R"({"id": "cmpl-1", "object": "chat.completion.chunk", "created": 1700000000,
      "model": "m\"x", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "a"},
      "logprobs": {"content": [{"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}]},
      "finish_reason": null, "stop_reason": null}]})"));
  CHECK(of_chunk(openai_chunk(context, 0, part, false, nullptr))["choices"][0]["delta"] ==
        json::parse(R"({"content": "a"})"));
  const json closing = of_chunk(openai_usage_chunk(context, usage));
  CHECK(closing["choices"] == json::array());
  CHECK(closing["usage"] == usage_json);
}

TEST_CASE("errors and service replies") {
  const json made = json::parse(openai_error({errc::overloaded, "the \"realtime\" lane is full"}));
  CHECK(made == json::parse(R"({"error": {"message": "the \"realtime\" lane is full",
      "type": "RateLimitError", "param": null, "code": 429, "reason": "overloaded"}})"));
  const json late = json::parse(openai_error({errc::deadline_unmeetable, "too late"}));
  CHECK(late == json::parse(R"({"error": {"message": "too late",
      "type": "UnprocessableEntityError", "param": null, "code": 422,
      "reason": "deadline_unmeetable"}})"));
  CHECK(http_status_of(errc::invalid_argument) == 400);
  CHECK(http_status_of(errc::unauthorized) == 401);
  CHECK(http_status_of(errc::permission_denied) == 403);
  CHECK(http_status_of(errc::not_found) == 404);
  CHECK(http_status_of(errc::rate_limited) == 429);
  CHECK(http_status_of(errc::unavailable) == 503);
  CHECK(http_status_of(errc::deadline_exceeded) == 504);
  CHECK(http_status_of(errc::internal) == 500);
  const json models = json::parse(openai_models("smol", 7, 2048));
  CHECK(models["object"] == "list");
  CHECK(models["data"][0]["id"] == "smol");
  CHECK(models["data"][0]["max_model_len"] == 2048);
  CHECK(json::parse(tokenize_reply({1, 2}, 10, nullptr)) ==
        json::parse(R"({"count": 2, "max_model_len": 10, "tokens": [1, 2], "token_strs": null})"));
  const std::vector<std::string> texts{"a", "\""};
  CHECK(json::parse(tokenize_reply({1, 2}, 10, &texts))["token_strs"] == json(texts));
  CHECK(json::parse(detokenize_reply("x\n")) == json{{"prompt", "x\n"}});
}
