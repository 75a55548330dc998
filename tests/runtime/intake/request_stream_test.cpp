// From drawn tokens to deltas, on a tiny model's tokenizer: offsets, characters that take several
// tokens, stop strings across tokens, stop ids, echo, logprobs, and what a new scheduler is told
// after a restart.
#include "runtime/intake/request_stream.hpp"

#include <catch2/catch.hpp>

#include "runtime/model/gguf.hpp"
#include "runtime/text/utf8.hpp"

namespace troupe {
namespace {

std::shared_ptr<const tokenizer> tokens() {
  static const auto read =
      tokenizer::from_gguf(
          gguf_file::open(TROUPE_SOURCE_DIR "/tests/models/tiny-qwen2.gguf").value())
          .value();
  return read;
}

std::vector<token_id> ids_of(std::string_view text) {
  return tokens()->encode(text, {.parse_special = false, .add_special = false});
}

/// A stream of one request and what its client has received.
struct listener {
  explicit listener(generation_params wanted, std::string_view prompt = "Once")
      : params(std::make_shared<const generation_params>(std::move(wanted))),
        prompt_ids(std::make_shared<const std::vector<token_id>>(ids_of(prompt))),
        stream(tokens(), params, prompt_ids),
        text(params->n) {}

  sequence_update update(token_id token, std::uint32_t sequence = 0) const {
    return {.sequence = {request_id{1}, sequence},
            .token = sampled_token{token, -0.5f, 1, {}},
            .prompt_logprobs = {},
            .finished = {},
            .stop_token = {}};
  }

  request_stream::taken take(const sequence_update& news) {
    auto taken = stream.take(news);
    if (taken.out) {
      const std::string& part = taken.out->part.text;
      CHECK(utf8_repair(part) == part);
      text.at(taken.out->sequence) += part;
    }
    return taken;
  }

  std::shared_ptr<const generation_params> params;
  std::shared_ptr<const std::vector<token_id>> prompt_ids;
  request_stream stream;
  std::vector<std::string> text;
};

TEST_CASE("each token has its offset, in each sequence") {
  generation_params params;
  params.n = 2;
  listener client(params);
  const auto ids = ids_of("one two three");
  for (std::size_t i = 0; i < ids.size(); ++i) {
    for (std::uint32_t sequence = 0; sequence < 2; ++sequence) {
      const auto taken = client.take(client.update(ids[i], sequence));
      REQUIRE(taken.out.has_value());
      CHECK(taken.out->sequence == sequence);
      CHECK(taken.out->offset == i);
      CHECK(taken.out->part.token_ids == std::vector{static_cast<std::int64_t>(ids[i])});
      CHECK_FALSE(taken.out->part.finish_reason.has_value());
    }
  }
  CHECK(client.text[0] == "one two three");
  CHECK(client.text[1] == client.text[0]);
  CHECK(client.stream.output_token_count() == 2 * ids.size());
}

TEST_CASE("a request is complete when all of its sequences are") {
  generation_params params;
  params.n = 2;
  listener client(params);
  auto last = client.update(ids_of("a")[0], 0);
  last.finished = finish_reason::length;
  CHECK(client.take(last).out->part.finish_reason == "length");
  CHECK_FALSE(client.stream.is_complete());
  // What a step that was under way still brings is dropped.
  CHECK_FALSE(client.take(client.update(ids_of("b")[0], 0)).out.has_value());
  last.sequence.index = 1;
  last.finished = finish_reason::stop;
  client.take(last);
  CHECK(client.stream.is_complete());
  const finished summary = client.stream.summary();
  CHECK(summary.finish_reasons == std::vector<std::string>{"length", "stop"});
  CHECK(summary.prompt_tokens == client.prompt_ids->size());
  CHECK(summary.completion_tokens == 2);
}

TEST_CASE("a character goes out whole, and an incomplete one at the end is replaced") {
  listener client({});
  const auto ids = ids_of("\xF0\x9F\x8E\xAD");  // U+1F3AD
  REQUIRE(ids.size() > 1);
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
    client.take(client.update(ids[i]));
    CHECK(client.text[0].empty());
  }
  client.take(client.update(ids.back()));
  CHECK(client.text[0] == "\xF0\x9F\x8E\xAD");

  listener cut({});
  auto last = cut.update(ids[0]);
  last.finished = finish_reason::length;
  cut.take(last);
  CHECK(cut.text[0] == "\xEF\xBF\xBD");
}

TEST_CASE("a stop string is found across tokens, and its beginning is held back") {
  const auto ids = ids_of("say hello world again");
  for (const bool include : {false, true}) {
    generation_params params;
    params.stopping.stop = {"lo wor"};
    params.stopping.include_stop_str_in_output = include;
    listener client(params);
    std::optional<request_stream::taken> stopped;
    for (const token_id id : ids) {
      auto taken = client.take(client.update(id));
      if (!stopped && !taken.stop_sequence) CHECK(client.text[0].find("lo") == std::string::npos);
      if (taken.stop_sequence) {
        CHECK_FALSE(stopped.has_value());
        stopped = std::move(taken);
      }
    }
    REQUIRE(stopped.has_value());
    CHECK(client.text[0] == (include ? "say hello wor" : "say hel"));
    CHECK(stopped->out->part.finish_reason == "stop");
    CHECK(stopped->out->part.stop_reason == "lo wor");
    CHECK(client.stream.is_complete());
  }
}

TEST_CASE("text that only began like a stop string comes in the end") {
  generation_params params;
  params.stopping.stop = {"helper"};
  listener client(params);
  const auto ids = ids_of("hel");
  for (std::size_t i = 0; i < ids.size(); ++i) {
    auto update = client.update(ids[i]);
    if (i + 1 == ids.size()) update.finished = finish_reason::length;
    CHECK(client.text[0].empty());
    CHECK_FALSE(client.take(update).stop_sequence);
  }
  CHECK(client.text[0] == "hel");
}

TEST_CASE("a stop string in the last token counts, and nobody needs to be told") {
  generation_params params;
  params.stopping.stop = {"z"};
  listener client(params);
  auto last = client.update(ids_of("z")[0]);
  last.finished = finish_reason::length;
  const auto taken = client.take(last);
  CHECK_FALSE(taken.stop_sequence);
  CHECK(taken.out->part.finish_reason == "stop");
  CHECK(client.text[0].empty());
}

TEST_CASE("a stop string counts from the token after min_tokens on") {
  const auto ids = ids_of("z z z");
  REQUIRE(ids.size() > 3);
  generation_params params;
  params.stopping.stop = {"z"};
  params.stopping.min_tokens = static_cast<std::uint32_t>(ids.size() - 1);
  listener client(params);
  for (std::size_t i = 0; i + 1 < ids.size(); ++i)
    CHECK_FALSE(client.take(client.update(ids[i])).stop_sequence);
  const auto taken = client.take(client.update(ids.back()));
  CHECK(taken.stop_sequence);
  CHECK(taken.out->part.stop_reason == "z");
  CHECK(client.text[0] == "z z ");

  // A sequence that ends at min_tokens keeps all of its text.
  params.stopping.min_tokens = 1;
  listener least(params);
  auto last = least.update(ids_of("z")[0]);
  last.finished = finish_reason::length;
  CHECK(least.take(last).out->part.finish_reason == "length");
  CHECK(least.text[0] == "z");
}

TEST_CASE("the id that stopped a sequence is reported but no text") {
  const token_id stop = ids_of("q")[0];
  for (const bool include : {false, true}) {
    generation_params params;
    params.stopping.stop_token_ids = {stop};
    params.stopping.include_stop_str_in_output = include;
    listener client(params);
    auto last = client.update(stop);
    last.finished = finish_reason::stop;
    last.stop_token = stop;
    const auto taken = client.take(last);
    CHECK(taken.out->part.token_ids.size() == 1);
    CHECK(taken.out->part.stop_reason == std::to_string(to_index(stop)));
    CHECK(client.text[0] == (include ? "q" : ""));
  }
  // An end of generation is the usual end: it has no stop_reason.
  listener client({});
  REQUIRE_FALSE(tokens()->end_of_generation().empty());
  const token_id end = tokens()->end_of_generation().front();
  auto last = client.update(end);
  last.finished = finish_reason::stop;
  last.stop_token = end;
  CHECK_FALSE(client.take(last).out->part.stop_reason.has_value());
  CHECK(client.text[0].empty());
}

TEST_CASE("echo puts the prompt before the first token of each sequence") {
  generation_params params;
  params.n = 2;
  params.echo = true;
  listener client(params, "Once upon");
  for (std::uint32_t sequence = 0; sequence < 2; ++sequence) {
    for (const token_id id : ids_of(" a time")) client.take(client.update(id, sequence));
    CHECK(client.text[sequence] == "Once upon a time");
  }
}

TEST_CASE("an echo without output is the prompt alone") {
  generation_params params;
  params.n = 2;
  params.echo = true;
  params.stopping.max_tokens = 0;
  listener client(params, "Once upon");
  for (std::uint32_t sequence = 0; sequence < 2; ++sequence) {
    auto taken = client.take({.sequence = {request_id{1}, sequence},
                              .token = {},
                              .prompt_logprobs = {},
                              .finished = finish_reason::length,
                              .stop_token = {}});
    REQUIRE(taken.out.has_value());
    CHECK(taken.out->part.token_ids.empty());
    CHECK(taken.out->part.finish_reason == "length");
    CHECK(client.text[sequence] == "Once upon");
  }
  CHECK(client.stream.is_complete());
  CHECK(client.stream.summary().completion_tokens == 0);
}

TEST_CASE("logprobs name the token, its exact bytes and its alternatives") {
  generation_params params;
  params.sampling.logprobs = 1;
  listener client(params);
  const token_id id = ids_of("\xC3\xA9").front();  // the first byte of a character, or all of it
  auto update = client.update(id);
  update.token->top = {{ids_of("b")[0], -0.25f}};
  const auto taken = client.take(update);
  REQUIRE(taken.out->part.logprobs.size() == 1);
  const position_logprobs& position = taken.out->part.logprobs[0];
  const std::string bytes(tokens()->piece(id));
  CHECK(std::string(position.chosen.bytes.begin(), position.chosen.bytes.end()) == bytes);
  CHECK(position.chosen.token == utf8_repair(bytes));
  CHECK(position.chosen.logprob == Approx(-0.5));
  REQUIRE(position.top.size() == 1);
  CHECK(position.top[0].token == "b");
  CHECK(position.top[0].rank == 1);
}

TEST_CASE("prompt logprobs come once, from the replica that finished the prompt") {
  generation_params params;
  params.n = 2;
  params.sampling.prompt_logprobs = 0;
  listener client(params, "Once upon a time");
  const auto& prompt = *client.prompt_ids;
  const auto rows = [&](std::size_t from, std::size_t to) {
    sequence_update update{{request_id{1}, 0}, {}, {}, {}, {}};
    for (std::size_t i = from; i < to; ++i)
      update.prompt_logprobs.push_back({prompt[i], -1.0f, 1, {}});
    return update;
  };
  REQUIRE(prompt.size() > 3);
  CHECK_FALSE(client.take(rows(1, 3)).out.has_value());
  // The replica dies: the next one scores the prompt from its first row again.
  client.stream.restart_prompt();
  CHECK_FALSE(client.take(rows(1, 2)).out.has_value());
  auto first = rows(2, prompt.size());
  first.token = sampled_token{ids_of("a")[0], -1.0f, 1, {}};
  for (std::uint32_t sequence = 0; sequence < 2; ++sequence) {
    first.sequence.index = sequence;
    const auto taken = client.take(first);
    first.prompt_logprobs.clear();
    REQUIRE(taken.out->part.prompt_logprobs.size() == prompt.size() - 1);
    for (std::size_t i = 1; i < prompt.size(); ++i)
      CHECK(taken.out->part.prompt_logprobs[i - 1].chosen.token_id ==
            static_cast<std::int64_t>(prompt[i]));
  }
  // It dies again: the rows went out already.
  client.stream.restart_prompt();
  CHECK(client.take(client.update(ids_of("b")[0])).out->part.prompt_logprobs.empty());
}

TEST_CASE("progress carries the tokens of what runs and the end of what ended") {
  generation_params params;
  params.n = 2;
  params.stopping.stop = {"z"};
  listener client(params);
  const token_id a = ids_of("a")[0], z = ids_of("z")[0];
  client.take(client.update(a, 0));
  client.take(client.update(a, 1));
  CHECK(client.take(client.update(z, 1)).stop_sequence);
  const auto progress = client.stream.progress();
  REQUIRE(progress.size() == 2);
  CHECK(progress[0].output == std::vector{a});
  CHECK_FALSE(progress[0].finished);
  CHECK(progress[1].output == std::vector{a, z});
  CHECK(progress[1].finished);
  // The new scheduler goes on where the old one stood.
  CHECK(client.take(client.update(a, 0)).out->offset == 1);
}

}  // namespace
}  // namespace troupe
