// The embedded API on a tiny model: generate, cancel, several sequences, stop strings, echo,
// logprobs, an application's own actor, and generations that outlive their engine.
#include "actors/embedded/embedded.hpp"

#include <caf/all.hpp>
#include <catch2/catch.hpp>
#include <spdlog/spdlog.h>

namespace troupe::test {
namespace {

embedded_engine open_tiny() {
  spdlog::set_level(spdlog::level::off);
  server_config config;
  config.model = TROUPE_SOURCE_DIR "/tests/models/tiny-llama.gguf";
  config.max_model_len = 256;
  config.cpu_kv_cache_gib = 0.05;
  config.threads = 1;
  return embedded_engine::open(config).value();
}

submit request_of(std::int64_t max_tokens) {
  submit request;
  request.prompt = "The play begins";
  request.max_tokens = max_tokens;
  request.seed = 11;
  request.ignore_eos = true;
  return request;
}

struct heard {
  std::vector<std::int64_t> tokens;
  std::string text;
  std::optional<std::string> finish_reason, stop_reason;
};

/// Everything that a generation says, by sequence.
std::map<std::uint32_t, heard> listen(generation& from) {
  std::map<std::uint32_t, heard> all;
  while (const auto part = from.next()) {
    heard& sequence = all[part->sequence];
    CHECK(part->offset == sequence.tokens.size());
    sequence.tokens.insert(sequence.tokens.end(), part->token_ids.begin(), part->token_ids.end());
    sequence.text += part->text;
    if (part->finish_reason) sequence.finish_reason = part->finish_reason;
    if (part->stop_reason) sequence.stop_reason = part->stop_reason;
  }
  return all;
}

TEST_CASE("a generation gives its parts and then its outcome") {
  auto engine = open_tiny();
  auto running = engine.generate(request_of(12)).value();
  const auto all = listen(running);
  REQUIRE(running.outcome().has_value());
  CHECK(all.at(0).tokens.size() == 12);
  CHECK(all.at(0).finish_reason == "length");
  CHECK(running.outcome()->completion_tokens == 12);
  CHECK(running.outcome()->finish_reasons == std::vector<std::string>{"length"});
  CHECK(running.outcome()->e2e_ms >= running.outcome()->ttft_ms);
  CHECK(engine.generate(request_of(12)).value().text().value() == all.at(0).text);
}

TEST_CASE("several sequences come apart by their index") {
  auto engine = open_tiny();
  auto request = request_of(10);
  request.n = 3;
  auto running = engine.generate(request).value();
  const auto all = listen(running);
  REQUIRE(running.outcome().has_value());
  REQUIRE(all.size() == 3);
  for (const auto& [index, sequence] : all) CHECK(sequence.tokens.size() == 10);
  CHECK(all.at(0).tokens != all.at(1).tokens);
  // text() is the first sequence's, which a request of one sequence has too.
  CHECK(engine.generate(request).value().text().value() == all.at(0).text);
  CHECK(engine.generate(request_of(10)).value().text().value() == all.at(0).text);
}

TEST_CASE("a stop string ends a generation and is not in its text") {
  auto engine = open_tiny();
  const std::string text = engine.generate(request_of(60)).value().text().value();
  // Something that the model will say: one printable letter.
  const auto place = std::ranges::find_if(text, [](char c) { return c > ' ' && c < 127; });
  REQUIRE(place != text.end());
  auto request = request_of(60);
  request.stop = {std::string(1, *place)};
  auto running = engine.generate(request).value();
  const auto all = listen(running);
  REQUIRE(running.outcome().has_value());
  CHECK(all.at(0).text == text.substr(0, text.find(*place)));
  CHECK(all.at(0).finish_reason == "stop");
  CHECK(all.at(0).stop_reason == request.stop[0]);
}

TEST_CASE("echo, logprobs and prompt logprobs") {
  auto engine = open_tiny();
  auto request = request_of(5);
  const std::string plain = engine.generate(request).value().text().value();
  request.echo = true;
  request.logprobs = 2;
  request.prompt_logprobs = 1;
  auto running = engine.generate(request).value();
  std::string text;
  std::size_t scored = 0, scored_prompt = 0;
  while (const auto part = running.next()) {
    text += part->text;
    scored += part->logprobs.size();
    scored_prompt += part->prompt_logprobs.size();
    for (const auto& position : part->logprobs) {
      REQUIRE(position.top.size() == 2);
      CHECK(position.top[0].logprob >= position.top[1].logprob);
      CHECK(position.chosen.logprob <= position.top[0].logprob);
    }
  }
  REQUIRE(running.outcome().has_value());
  CHECK(text == *request.prompt + plain);
  CHECK(scored == 5);
  CHECK(scored_prompt == running.outcome()->prompt_tokens - 1);
}

TEST_CASE("what is wrong with a request is its outcome") {
  auto engine = open_tiny();
  auto request = request_of(5);
  request.temperature = -1;
  auto running = engine.generate(request).value();
  CHECK_FALSE(running.next().has_value());
  REQUIRE_FALSE(running.outcome().has_value());
  CHECK(running.outcome().failure().code == errc::invalid_argument);
  CHECK(running.outcome().failure().message.find("temperature") != std::string::npos);
  CHECK_FALSE(engine.generate(request).value().text().has_value());
}

TEST_CASE("a generation can be cancelled, and is when it is dropped") {
  auto engine = open_tiny();
  auto running = engine.generate(request_of(200)).value();
  REQUIRE(running.next().has_value());
  running.cancel();
  while (running.next()) {
  }
  if (!running.outcome()) CHECK(running.outcome().failure().code == errc::aborted);
  for (int i = 0; i < 20; ++i) {
    auto dropped = engine.generate(request_of(200)).value();
    dropped.next();
  }
  CHECK(engine.generate(request_of(4)).value().text().has_value());
}

TEST_CASE("a generation may outlive its engine") {
  std::optional<generation> left;
  {
    auto engine = open_tiny();
    left.emplace(engine.generate(request_of(200)).value());
  }
  while (left->next()) {
  }
  if (!left->outcome()) CHECK(left->outcome().failure().code == errc::unavailable);
}

TEST_CASE("an application's own actor receives a generation's events") {
  auto engine = open_tiny();
  const std::string expected = engine.generate(request_of(12)).value().text().value();
  caf::scoped_actor own(engine.system());
  REQUIRE(engine.generate_to(own, "mine", request_of(12)).has_value());
  CHECK_FALSE(engine.generate_to(own, "mine", request_of(200)).has_value());
  std::string text;
  int accepted_count = 0, last_words = 0;
  while (last_words == 0) {
    own->receive(
        [&](const generation_event& event) {
          CHECK(event.request_id == "mine");
          if (const auto* part = std::get_if<delta>(&event.body)) text += part->text;
          if (std::holds_alternative<accepted>(event.body)) ++accepted_count;
          if (std::holds_alternative<finished>(event.body)) ++last_words;
          REQUIRE_FALSE(std::holds_alternative<error_reply>(event.body));
        },
        caf::after(std::chrono::seconds(60)) >> [] { FAIL("no event came"); });
  }
  CHECK(text == expected);
  CHECK(accepted_count == 1);

  REQUIRE(engine.generate_to(own, "cancelled", request_of(200)).has_value());
  engine.cancel("cancelled");
  for (bool ended = false; !ended;) {
    own->receive(
        [&](const generation_event& event) {
          if (const auto* failure = std::get_if<error_reply>(&event.body)) {
            CHECK(failure->code == "aborted");
            ended = true;
          }
          if (std::holds_alternative<finished>(event.body)) ended = true;
        },
        caf::after(std::chrono::seconds(60)) >> [] { FAIL("no event came"); });
  }
}

}  // namespace
}  // namespace troupe::test
