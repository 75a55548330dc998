// Bodies of the OpenAI endpoints: what each parameter becomes, what is ignored, and how every wrong
// type and unsupported feature is refused.
#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/limits.hpp"
#include "runtime/messages/openai.hpp"
#include "runtime/messages/validate.hpp"

using namespace troupe;
using Catch::Contains;
using json = nlohmann::ordered_json;

namespace {

result<openai_request> completion(const json& body) {
  return parse_openai_request(openai_endpoint::completions, body.dump());
}

result<openai_request> chat(const json& body) {
  return parse_openai_request(openai_endpoint::chat_completions, body.dump());
}

json completion_with(std::string_view key, const json& value) {
  json body{{"prompt", "hi"}};
  body[std::string(key)] = value;
  return body;
}

json chat_with(std::string_view key, const json& value) {
  json body{{"messages", json::array({{{"role", "user"}, {"content", "hi"}}})}};
  body[std::string(key)] = value;
  return body;
}

void check_refused(const result<openai_request>& outcome, errc code, const std::string& words) {
  REQUIRE(!outcome.has_value());
  CHECK(outcome.failure().code == code);
  CHECK_THAT(outcome.failure().message, Contains(words));
}

}  // namespace

TEST_CASE("a completion's defaults and all of its parameters") {
  const auto plain = completion({{"prompt", "hi"}});
  REQUIRE(plain.has_value());
  CHECK(plain->prompts.size() == 1);
  CHECK(plain->prompts[0].prompt == "hi");
  CHECK(plain->prompts[0].max_tokens == 16);
  CHECK(plain->prompts[0].temperature == 1.0);
  CHECK(!plain->stream);
  CHECK(!plain->logprobs);
  CHECK_FALSE(plain->service);

  const auto full = completion(json::parse(R"({
    "model": "m", "prompt": "hi", "max_tokens": 5, "n": 2, "temperature": 0.5, "top_p": 0.9, "top_k": 7,
    "min_p": 0.1, "repetition_penalty": 1.2, "presence_penalty": 1, "frequency_penalty": -1, "seed": 3,
    "stop": "END", "stop_token_ids": [1, 2], "include_stop_str_in_output": true, "ignore_eos": true,
    "skip_special_tokens": false, "add_special_tokens": false, "min_tokens": 2, "logprobs": 4,
    "priority": -3, "due_ms": 900, "logit_bias": {"5": -1.5}, "echo": false, "stream": true,
    "stream_options": {"include_usage": true, "continuous_usage_stats": true}, "best_of": 2,
    "user": "u", "unknown_thing": {"a": 1}, "suffix": null, "response_format": {"type": "text"},
    "lane": "vip", "deadline_ms": 500})"));
  if (!full) FAIL(full.failure().message);
  const submit& made = full->prompts[0];
  CHECK(made.model == "m");
  CHECK(made.max_tokens == 5);
  CHECK(made.n == 2);
  CHECK(made.temperature == 0.5);
  CHECK(made.top_p == 0.9);
  CHECK(made.top_k == 7);
  CHECK(made.min_p == 0.1);
  CHECK(made.repetition_penalty == 1.2);
  CHECK(made.presence_penalty == 1.0);
  CHECK(made.frequency_penalty == -1.0);
  CHECK(made.seed == 3);
  CHECK(made.stop == std::vector<std::string>{"END"});
  CHECK(made.stop_token_ids == std::vector<std::int64_t>{1, 2});
  CHECK(made.include_stop_str_in_output);
  CHECK(made.ignore_eos);
  CHECK(!made.skip_special_tokens);
  CHECK(!made.add_special_tokens);
  CHECK(made.min_tokens == 2);
  CHECK(made.logprobs == 4);
  CHECK(full->logprobs == 4u);
  CHECK(made.priority == -3);
  CHECK(made.due_ms == 900);
  CHECK(made.logit_bias == std::map<std::string, double>{{"5", -1.5}});
  CHECK(full->stream);
  CHECK(full->include_usage);
  CHECK(full->continuous_usage_stats);
  CHECK(full->service == lane::vip);
  CHECK(full->deadline_ms == 500u);
}

TEST_CASE("the four kinds of prompt") {
  CHECK(completion({{"prompt", {"a", "b", "c"}}})->prompts[2].prompt == "c");
  const auto ids = completion({{"prompt", {1, 2, 3}}});
  REQUIRE(ids->prompts.size() == 1);
  CHECK(ids->prompts[0].prompt_token_ids == std::vector<std::int64_t>{1, 2, 3});
  const auto lists = completion({{"prompt", json::array({json::array({1}), json::array({2, 3})})}});
  REQUIRE(lists->prompts.size() == 2);
  CHECK(lists->prompts[1].prompt_token_ids == std::vector<std::int64_t>{2, 3});
  for (const char* bad : {R"(["a", 1])", R"([1, "a"])", R"([[1], "a"])", R"([["a"]])", "[]", "5",
                          "{}", R"([1.5])", "[1, 2.5]", "true"}) {
    CAPTURE(bad);
    check_refused(completion({{"prompt", json::parse(bad)}}), errc::invalid_argument, "`prompt");
  }
  check_refused(completion(json::object()), errc::invalid_argument, "`prompt` is required");
  check_refused(completion({{"prompt", nullptr}}), errc::invalid_argument, "`prompt` is required");
  check_refused(completion({{"prompt", std::vector<std::string>(65, "a")}}), errc::invalid_argument,
                "at most 64");
  json many{{"prompt", std::vector<std::string>(64, "a")}, {"n", 5}};
  check_refused(completion(many), errc::invalid_argument, "320 choices");
  many["n"] = 1;
  CHECK(completion(many)->prompts.back().sibling_count == 64);
}

TEST_CASE("echo with logprobs asks for the prompt's too") {
  json body = completion_with("echo", true);
  body["logprobs"] = 2;
  CHECK(completion(body)->prompts[0].prompt_logprobs == 2);
}

TEST_CASE("prompt_logprobs are not streamed, but an echo's logprobs are") {
  json body = completion_with("prompt_logprobs", 1);
  CHECK(completion(body)->prompts[0].prompt_logprobs == 1);
  body["stream"] = true;
  check_refused(completion(body), errc::invalid_argument, "`prompt_logprobs`");
  json talk = chat_with("prompt_logprobs", 1);
  talk["stream"] = true;
  check_refused(chat(talk), errc::invalid_argument, "`prompt_logprobs`");
  json echoed = completion_with("echo", true);
  echoed["logprobs"] = 1;
  echoed["stream"] = true;
  CHECK(completion(echoed).has_value());
}

TEST_CASE("chat bodies") {
  const auto plain = chat(chat_with("max_tokens", nullptr));
  REQUIRE(plain.has_value());
  CHECK(plain->prompts[0].messages_json == R"([{"role":"user","content":"hi"}])");
  CHECK(!plain->prompts[0].max_tokens);
  CHECK(plain->prompts[0].add_generation_prompt);
  CHECK(chat(chat_with("max_tokens", 3))->prompts[0].max_tokens == 3);
  json both = chat_with("max_tokens", 3);
  both["max_completion_tokens"] = 4;
  CHECK(chat(both)->prompts[0].max_tokens == 4);

  CHECK(!chat(chat_with("logprobs", false))->logprobs);
  CHECK(chat(chat_with("logprobs", true))->logprobs == 0u);
  json top = chat_with("logprobs", true);
  top["top_logprobs"] = 5;
  CHECK(chat(top)->logprobs == 5u);
  CHECK(chat(top)->prompts[0].logprobs == 5);
  check_refused(chat(chat_with("top_logprobs", 5)), errc::invalid_argument,
                "`logprobs` must be set");

  json tools = chat_with("tools", json::array({{{"type", "function"}}}));
  tools["tool_choice"] = "auto";
  CHECK(chat(tools)->prompts[0].tools_json == R"([{"type":"function"}])");
  tools["tool_choice"] = "required";
  check_refused(chat(tools), errc::unsupported, "`tool_choice`");
  tools["tool_choice"] = {{"type", "function"}};
  check_refused(chat(tools), errc::unsupported, "`tool_choice`");
  CHECK(chat(chat_with("chat_template_kwargs", {{"a", 1}}))->prompts[0].chat_template_kwargs_json ==
        R"({"a":1})");
}

TEST_CASE("message content is one text") {
  const auto with_content = [](const char* content) {
    return chat(
        {{"messages", json::array({{{"role", "user"}, {"content", json::parse(content)}}})}});
  };
  CHECK(with_content(R"([{"type":"text","text":"a"},{"type":"text","text":"b"}])")
            ->prompts[0]
            .messages_json == R"([{"role":"user","content":"a\nb"}])");
  CHECK(with_content(R"(["a"])")->prompts[0].messages_json == R"([{"role":"user","content":"a"}])");
  CHECK(with_content("null")->prompts[0].messages_json == R"([{"role":"user","content":""}])");
  const json caller{{"role", "assistant"}, {"tool_calls", json::array({json::object()})}};
  CHECK(chat({{"messages", json::array({caller})}})->prompts[0].messages_json ==
        R"([{"role":"assistant","tool_calls":[{}],"content":""}])");
  check_refused(with_content(R"([{"type":"image_url","image_url":{}}])"), errc::unsupported,
                "`messages[0].content`");
  check_refused(with_content("5"), errc::invalid_argument, "`messages[0].content`");
  check_refused(chat({{"messages", json::array()}}), errc::invalid_argument, "at least one");
  check_refused(chat({{"messages", "hi"}}), errc::invalid_argument, "array");
  check_refused(chat(json::object()), errc::invalid_argument, "required");
  check_refused(chat({{"messages", {1}}}), errc::invalid_argument, "`messages[0]`");
  check_refused(chat({{"messages", json::array({json::object()})}}), errc::invalid_argument,
                "role");
}

TEST_CASE("integers may be written as floats; the range of one beyond 64 bits is checked later") {
  const request_bounds bounds{.max_model_len = 2048, .vocab_size = 1000, .served_model_name = "m"};
  CHECK(completion(completion_with("max_tokens", 16.0))->prompts[0].max_tokens == 16);
  CHECK(completion(completion_with("seed", -9223372036854775808.0))->prompts[0].seed == INT64_MIN);
  for (const json& huge : {json(UINT64_MAX), json(1e30), json(-1e30)}) {
    CAPTURE(huge.dump());
    for (const char* key : {"n", "max_tokens", "min_tokens", "top_k", "logprobs", "priority",
                            "due_ms", "prompt_logprobs"}) {
      CAPTURE(key);
      const auto parsed = completion(completion_with(key, huge));
      REQUIRE(parsed.has_value());
      CHECK(validate_submit(parsed->prompts[0], bounds, 1).failure().code ==
            errc::invalid_argument);
    }
    check_refused(completion(completion_with("seed", huge)), errc::invalid_argument,
                  "`seed` must be in [-9223372036854775808, 9223372036854775807]");
    check_refused(completion(completion_with("deadline_ms", huge)), errc::invalid_argument,
                  fmt::format("`deadline_ms` must be in [1, {}], got {}", limits::deadline_ms_max,
                              huge.dump()));
  }
}

TEST_CASE("every parameter refuses wrong types by name") {
  const json wrong_for_number = "x";
  for (const char* key : {"n", "max_tokens", "min_tokens", "top_k", "seed", "logprobs", "priority",
                          "due_ms", "prompt_logprobs", "best_of", "deadline_ms"}) {
    for (const json& value : {json("1"), json(1.5), json(true), json::array(), json::object()}) {
      CAPTURE(key, value.dump());
      check_refused(completion(completion_with(key, value)), errc::invalid_argument,
                    fmt::format("`{}` must be an integer", key));
    }
  }
  for (const char* key : {"temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty",
                          "frequency_penalty"}) {
    for (const json& value : {json("1"), json(true), json::array()}) {
      check_refused(completion(completion_with(key, value)), errc::invalid_argument,
                    fmt::format("`{}` must be a number", key));
    }
  }
  for (const char* key : {"stream", "echo", "ignore_eos", "skip_special_tokens",
                          "add_special_tokens", "include_stop_str_in_output"}) {
    for (const json& value : {json("true"), json(1), json::array()}) {
      check_refused(completion(completion_with(key, value)), errc::invalid_argument,
                    fmt::format("`{}` must be a boolean", key));
    }
  }
  for (const auto& [key, value] : {std::pair{"stop", json(1)},
                                   {"stop", json::array({1})},
                                   {"stop_token_ids", json("1")},
                                   {"stop_token_ids", json::array({"1"})},
                                   {"logit_bias", json::array()},
                                   {"logit_bias", json{{"1", "x"}}},
                                   {"model", json(1)},
                                   {"stream_options", json(1)},
                                   {"response_format", json("text")},
                                   {"lane", json(1)},
                                   {"lane", json("fast")},
                                   {"deadline_ms", json(0)},
                                   {"deadline_ms", json(-1)}}) {
    CAPTURE(key, value.dump());
    json body = completion_with(key, value);
    if (std::string_view(key) == "stream_options") body["stream"] = true;
    check_refused(completion(body), errc::invalid_argument, key);
  }
  for (const auto& [key, value] : {std::pair{"tools", json(1)},
                                   {"tools", json::array({1})},
                                   {"chat_template_kwargs", json::array()},
                                   {"logprobs", json(1)}}) {
    check_refused(chat(chat_with(key, value)), errc::invalid_argument, key);
  }
  check_refused(completion(completion_with("stream_options", json::object())),
                errc::invalid_argument, "Stream options can only be defined when `stream=True`.");
}

TEST_CASE("null is absent for every parameter") {
  for (const char* key : {"model",
                          "n",
                          "max_tokens",
                          "min_tokens",
                          "temperature",
                          "top_k",
                          "top_p",
                          "min_p",
                          "seed",
                          "stop",
                          "repetition_penalty",
                          "presence_penalty",
                          "frequency_penalty",
                          "stop_token_ids",
                          "logit_bias",
                          "logprobs",
                          "prompt_logprobs",
                          "stream",
                          "stream_options",
                          "echo",
                          "suffix",
                          "best_of",
                          "lane",
                          "deadline_ms",
                          "response_format",
                          "ignore_eos",
                          "guided_json",
                          "user"}) {
    CAPTURE(key);
    CHECK(completion(completion_with(key, nullptr)).has_value());
  }
}

TEST_CASE("what is not built is refused as unsupported") {
  for (const char* key : {"guided_json", "guided_regex", "guided_choice", "guided_grammar",
                          "suffix", "structured_outputs", "truncate_prompt_tokens", "bad_words"}) {
    check_refused(completion(completion_with(key, "x")), errc::unsupported, key);
  }
  for (const char* type : {"json_object", "json_schema"}) {
    check_refused(completion(completion_with("response_format", {{"type", type}})),
                  errc::unsupported, type);
  }
  check_refused(completion(completion_with("use_beam_search", true)), errc::unsupported, "beam");
  CHECK(completion(completion_with("use_beam_search", false)).has_value());
  CHECK(completion(completion_with("suffix", "")).has_value());
  check_refused(completion(completion_with("best_of", 3)), errc::unsupported, "best_of");
  check_refused(chat(chat_with("continue_final_message", true)), errc::unsupported, "continue");
}

TEST_CASE("malformed bodies are one error") {
  for (const char* bad :
       {"", "{", "[]", "null", "\"x\"", "{\"prompt\": \"\\ud800\"}", "{\"prompt\": NaN}",
        "{\"prompt\": \"\xFF\"}", "{\"prompt\": \"a\"} x", "{\"temperature\": 1e999}"}) {
    CAPTURE(bad);
    const auto outcome = parse_openai_request(openai_endpoint::completions, bad);
    REQUIRE(!outcome.has_value());
    CHECK(outcome.failure().code == errc::invalid_argument);
  }
}

TEST_CASE("tokenize and detokenize bodies") {
  auto text = parse_tokenize_request(R"({"prompt": "hi", "return_token_strs": true})");
  REQUIRE(text.has_value());
  CHECK(text->prompt.prompt == "hi");
  CHECK(text->prompt.add_special_tokens);
  CHECK(text->return_token_strs);
  CHECK(!parse_tokenize_request(R"({"prompt": "hi", "add_special_tokens": false})")
             ->prompt.add_special_tokens);
  const auto messages =
      parse_tokenize_request(R"({"messages": [{"role": "user", "content": "x"}]})");
  CHECK(messages->prompt.messages_json.has_value());
  CHECK(!messages->prompt.add_special_tokens);
  CHECK(!parse_tokenize_request("{}").has_value());
  CHECK(!parse_tokenize_request(R"({"prompt": "a", "messages": []})").has_value());
  CHECK(!parse_tokenize_request(R"({"prompt": ["a"]})").has_value());
  CHECK(*parse_detokenize_request(R"({"tokens": [1, 2]})") == std::vector<std::int64_t>{1, 2});
  CHECK(!parse_detokenize_request(R"({"tokens": [-1]})").has_value());
  CHECK(!parse_detokenize_request(R"({"tokens": ["1"]})").has_value());
  CHECK(!parse_detokenize_request("{}").has_value());
}
