// Streams of OpenAI completions as vLLM, llama-server and Troupe write them, cut at every place.
#include "bench/serve/completion_stream.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "config/limits.hpp"

namespace {

using namespace troupe;
using namespace troupe::bench;

const std::string stream =
    ": ping\n\ndata: {\"choices\":[{\"text\":\"a \\\"choices\\\":[] b\"}]}\n\nevent: x\r\ndata: "
    "two\r\n\r\ndata:three\n\n"
    "data: [DONE]\n\n";

}  // namespace

TEST_CASE("events are the same however the bytes are cut") {
  const std::vector<std::string> expected{"{\"choices\":[{\"text\":\"a \\\"choices\\\":[] b\"}]}",
                                          "two", "three", "[DONE]"};
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    event_reader reader;
    std::vector<std::string> seen;
    for (std::size_t at = 0; at < stream.size(); at += piece)
      REQUIRE(reader.take(stream.substr(at, piece),
                          [&seen](std::string_view data) { seen.emplace_back(data); }));
    CHECK(seen == expected);
  }
}

TEST_CASE("an event without an end is not kept without a bound") {
  event_reader reader;
  const std::string piece(limits::bench_event_bytes_max / 4, 'x');
  for (int i = 0; i < 4; ++i) REQUIRE(reader.take(piece, [](std::string_view) {}));
  CHECK(reader.take("x", [](std::string_view) {}).failure().code == errc::corrupt);
}

TEST_CASE("events of completions") {
  CHECK(read_completion_event(R"({"choices":[{"text":""}],"usage":null})").has_choice);
  CHECK(read_completion_event(R"({"id":"x", "choices" : [ {"text":"a"} ]})").has_choice);
  CHECK(read_completion_event("[DONE]").is_last);
  const auto usage =
      read_completion_event(R"({"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9}})");
  CHECK_FALSE(usage.has_choice);
  CHECK(usage.prompt_tokens == 5u);
  CHECK(usage.output_tokens == 9u);
  CHECK_FALSE(usage.failure);
  const auto failed = read_completion_event(R"({"error":{"message":"no memory","code":500}})");
  CHECK(failed.failure == "no memory");
  CHECK(read_completion_event("<html>").failure);
  CHECK(read_completion_event(R"({"choices")").failure);
}

TEST_CASE("bodies of requests and of refusals") {
  const work_item item{"say \"hi\"\n", {}, 4, 7};
  const auto body = nlohmann::json::parse(
      completion_body(item, {.model = "m", .ignore_eos = true, .temperature = 0.5}));
  CHECK(body["prompt"] == item.prompt);
  CHECK(body["max_tokens"] == 7);
  CHECK(body["stream_options"]["include_usage"] == true);
  CHECK(body["ignore_eos"] == true);
  CHECK(body["temperature"] == 0.5);
  CHECK_FALSE(nlohmann::json::parse(completion_body(item, {})).contains("temperature"));
  CHECK(error_message_of(R"({"error":{"message":"too long"}})") == "too long");
  CHECK(error_message_of(R"({"message":"plain"})") == "plain");
  CHECK(error_message_of("gateway timeout") == "gateway timeout");
}

TEST_CASE("the form of a URL decides the transport") {
  CHECK(open_transport("http://127.0.0.1:1/", ""));
  CHECK(open_transport("tcp://127.0.0.1:1", ""));
  for (const char* url :
       {"", "127.0.0.1:1", "https://a:1", "http://a", "http://:1", "tcp://a:", "http://a:1/v1"})
    CHECK(open_transport(url, "").failure().code == errc::invalid_argument);
}
