// The chat template as its users see it: the inputs that reach a template, errors as values with
// line numbers, limits, and use from several threads. What is rendered is checked against
// transformers in tests/python.
#include "runtime/text/chat_template.hpp"

#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using troupe::chat_template;
using troupe::errc;
using json = chat_template::json;

namespace {

chat_template::inputs one_message(std::string content = "Hi") {
  chat_template::inputs inputs;
  inputs.messages = json::array({{{"role", "user"}, {"content", std::move(content)}}});
  return inputs;
}

std::string render(const std::string& source, const chat_template::inputs& inputs) {
  const auto parsed = chat_template::parse(source);
  if (!parsed) return "load: " + parsed.failure().message;
  const auto text = parsed->render(inputs);
  return text ? *text : "render: " + text.failure().message;
}

std::string read_template(const std::string& name) {
  std::ifstream file(std::string(TROUPE_SOURCE_DIR) + "/tests/data/templates/" + name);
  REQUIRE(file.good());
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("ChatML renders a conversation") {
  auto inputs = one_message();
  CHECK(render(read_template("chatml.jinja"), inputs) ==
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  inputs.add_generation_prompt = false;
  CHECK(render(read_template("chatml.jinja"), inputs) == "<|im_start|>user\nHi<|im_end|>\n");
}

TEST_CASE("the inputs are variables of the template") {
  auto inputs = one_message();
  inputs.tools = json::parse(R"([{"name": "f", "b": 1, "a": [null, 2.0]}])");
  inputs.bos_token = "<s>";
  inputs.extra = {{"enable_thinking", false}};
  inputs.now = std::chrono::sys_seconds(std::chrono::seconds(1735732805));
  CHECK(render("{{ tools|tojson }}", inputs) == R"([{"name": "f", "b": 1, "a": [null, 2.0]}])");
  CHECK(render("{{ bos_token }}|{{ eos_token is defined }}", inputs) == "<s>|False");
  CHECK(render("{{ enable_thinking }} {{ documents }} {{ other is defined }}", inputs) ==
        "False None False");
  CHECK(render("{{ strftime_now('%Y-%m-%d %H:%M') }}", inputs) == "2025-01-01 12:00");
}

TEST_CASE("reasoning is passed under every name that templates read") {
  chat_template::inputs inputs;
  inputs.messages = json::parse(R"([{"role": "assistant", "content": "4", "reasoning": "2+2"}])");
  CHECK(render("{{ messages[0].reasoning_content }} {{ messages[0].thinking }}", inputs) ==
        "2+2 2+2");
}

TEST_CASE("a template's own exception is the message of the error") {
  const auto parsed = chat_template::parse("\n\n{{ raise_exception('roles must alternate') }}");
  REQUIRE(parsed);
  const auto text = parsed->render(one_message());
  REQUIRE_FALSE(text);
  CHECK(text.failure().code == errc::invalid_argument);
  CHECK(text.failure().message == "chat template, line 3: roles must alternate");
}

TEST_CASE("messages and tools of the wrong shape are refused") {
  const auto parsed = chat_template::parse("x");
  REQUIRE(parsed);
  chat_template::inputs inputs;
  CHECK_FALSE(parsed->render(inputs));
  inputs.messages = json::array({"text"});
  CHECK_FALSE(parsed->render(inputs));
  inputs = one_message();
  inputs.tools = json::object();
  CHECK_FALSE(parsed->render(inputs));
  inputs = one_message();
  json nested = "x";
  for (int i = 0; i < 200; ++i) nested = json::array({nested});
  inputs.extra = {{"deep", nested}};
  CHECK_FALSE(parsed->render(inputs));
  inputs.extra = {{"big", 18446744073709551615ull}};
  CHECK_FALSE(parsed->render(inputs));
}

TEST_CASE("what the build does not know is an error at load, with its line") {
  const auto problem = [](const std::string& source) {
    const auto parsed = chat_template::parse(source);
    return parsed ? std::string("loaded") : parsed.failure().message;
  };
  CHECK(problem("a\n{{ x|nosuch }}") == "chat template, line 2: No filter named 'nosuch'");
  CHECK(problem("\n\n{{ x is nosuch }}") == "chat template, line 3: No test named 'nosuch'");
  CHECK(problem("{% include 'x' %}").find("line 1: the tag 'include' is not supported") !=
        std::string::npos);
  CHECK(problem("\n{{ x|urlize }}").find("line 2: the filter 'urlize' is not supported") !=
        std::string::npos);
  CHECK(problem("{% trans %}").find("unknown tag 'trans'") != std::string::npos);
  CHECK(problem("{% if a %}{{ a|nosuch }}{% endif %}") == "loaded");
  CHECK(
      problem("{% if a %}\n{% for b in a %}{{ b|nosuch }}{% endfor %}{% endif %}").find("line 2") !=
      std::string::npos);
  CHECK(problem(std::string("\xff\xfe", 2)).find("UTF-8") != std::string::npos);
  CHECK(problem(std::string(2u << 20, 'x')).find("longer than") != std::string::npos);
}

TEST_CASE("broken syntax is an error at load, with its line") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{{ 1 +", "line 1"},
      {"\n{{ (1 }}", "line 2"},
      {"a\nb {% if x %}\n c", "line 3: Unexpected end of template"},
      {"{% endfor %}", "line 1: Encountered unknown tag"},
      {"{% for x %}{% endfor %}", "expected 'in'"},
      {"\n\n{# never closed", "line 3: Missing end of comment tag"},
      {"{% raw %} ...", "line 1: Missing end of raw"},
      {"{{ 'abc }}", "a string is not closed"},
      {"{{ 'a' ! }}", "unexpected char '!'"},
      {"{% break %}", "outside of a loop"},
      {"{% for a in b %}{% macro m() %}{% continue %}{% endmacro %}{% endfor %}", "outside"},
      {"{% set 1 = 2 %}", "expected a name"},
      {"{% set none = 2 %}", "can't assign"},
      {"{{ f(a=1, 2) }}", "invalid syntax for function call"},
      {"{{ f(a=1, a=2) }}", "repeated"},
      {"{{ 99999999999999999999 }}", "does not fit 64 bits"},
      {"{{ '\\ud800' }}", "surrogate"},
      {"{% macro m(a=1, b) %}{% endmacro %}", "non-default argument"},
      {"{{ }}", "Expected an expression"},
  };
  for (const auto& [source, message] : cases) {
    INFO(source);
    const auto parsed = chat_template::parse(source);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.failure().code == errc::unsupported);
    CHECK_THAT(parsed.failure().message, Catch::Contains(message));
  }
}

TEST_CASE("one template renders in many threads at once") {
  const auto parsed = chat_template::parse(read_template("torture-control.jinja"));
  REQUIRE(parsed);
  const auto inputs = one_message("thread");
  const auto expected = parsed->render(inputs);
  REQUIRE(expected);
  std::vector<int> same(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < same.size(); ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) same[t] += *parsed->render(inputs) == *expected ? 1 : 0;
    });
  for (auto& thread : threads) thread.join();
  CHECK(same == std::vector<int>(4, 50));
}
