// Server-sent events: what a stream carries and in which writes, how it fails, what a client that
// leaves or reads slowly causes, and that hundreds of streams need no further threads.
#include <sys/resource.h>

#include <filesystem>

#include <catch2/catch.hpp>

#include "tests/actors/http_fixture.hpp"

namespace troupe::test {
namespace {

const json streamed{{"stream", true}};

std::size_t thread_count() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& each : std::filesystem::directory_iterator("/proc/self/task")) {
    ++count;
  }
  return count;
}

TEST_CASE("a completion streams its deltas and ends with [DONE]") {
  http_fixture server;
  http_client client = server.connect();
  client.send(post("/v1/completions", completion_body("x", streamed)));
  const auto submits = server.engine.gateway.wait_for_submits(1);
  REQUIRE(submits.size() == 1);
  server.deliver(accepted_of(submits[0]));
  server.deliver(delta_of(submits[0], 0, "one"));
  // The first event arrives while the request still runs.
  std::string seen = client.read_until("\"one\"");
  CHECK(seen.starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK(seen.find("Content-Type: text/event-stream") != std::string::npos);
  server.deliver(delta_of(submits[0], 1, " two", "length"));
  server.deliver(finished_of(submits[0], 2));
  client.read_until("data: [DONE]\n\n\r\n0\r\n\r\n");
  // The connection stays.
  client.send(get("/health"));
  CHECK(client.read_answer().status == 200);
}

TEST_CASE("events of a completion are what clients expect") {
  http_fixture server;
  server.answer_at_once();
  const http_answer answer =
      server.ask(post("/v1/completions", completion_body("hello", streamed)));
  CHECK(answer.status == 200);
  CHECK(answer.fields.at("x-request-id").starts_with("cmpl-"));
  const auto events = events_of(answer.body);
  REQUIRE(events.size() == 3);
  std::string text;
  for (const json& event : events) {
    CHECK(event.at("object") == "text_completion");
    CHECK(event.at("id") == answer.fields.at("x-request-id"));
    text += event.at("choices").at(0).at("text").get<std::string>();
  }
  CHECK(text == "hello a b0");
  CHECK(events.back().at("choices").at(0).at("finish_reason") == "length");
}

TEST_CASE("a burst leaves in one write") {
  http_fixture server;
  server.answer_at_once();
  // Three deltas, the usage and [DONE] are one burst of the gateway, hence one chunk.
  const http_answer answer = server.ask(post(
      "/v1/completions",
      completion_body("x", {{"stream", true}, {"stream_options", {{"include_usage", true}}}})));
  CHECK(events_of(answer.body).size() == 4);
  CHECK(answer.chunk_count == 1);
}

TEST_CASE("a chat's first event of each choice carries the role") {
  http_fixture server;
  server.answer_at_once();
  const http_answer answer =
      server.ask(post("/v1/chat/completions", chat_body({{"stream", true}, {"n", 2}})));
  std::map<int, std::string> contents;
  for (const json& event : events_of(answer.body)) {
    CHECK(event.at("object") == "chat.completion.chunk");
    const json& choice = event.at("choices").at(0);
    const json& part = choice.at("delta");
    const int index = choice.at("index").get<int>();
    CHECK(part.contains("role") == !contents.contains(index));
    contents[index] += part.value("content", "");
  }
  CHECK(contents == std::map<int, std::string>{{0, "chat a b0"}, {1, "chat a b1"}});
}

TEST_CASE("usage is streamed where asked for") {
  http_fixture server;
  server.answer_at_once();
  const json at_end{{"stream", true}, {"stream_options", {{"include_usage", true}}}};
  auto events = events_of(server.ask(post("/v1/completions", completion_body("x", at_end))).body);
  REQUIRE(events.size() == 4);
  CHECK(events.back().at("choices").empty());
  CHECK(events.back().at("usage").at("completion_tokens") == 3);
  CHECK(events.back().at("usage").at("prompt_tokens") == 5);

  const json each{{"stream", true},
                  {"stream_options", {{"include_usage", true}, {"continuous_usage_stats", true}}}};
  events = events_of(server.ask(post("/v1/completions", completion_body("x", each))).body);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(events.at(i).at("usage").at("completion_tokens") == i + 1);
  }
}

TEST_CASE("several prompts stream side by side") {
  http_fixture server;
  server.answer_at_once();
  const json body{{"prompt", {"one", "two"}}, {"stream", true}};
  std::map<int, std::string> texts;
  for (const json& event : events_of(server.ask(post("/v1/completions", body.dump())).body)) {
    const json& choice = event.at("choices").at(0);
    texts[choice.at("index").get<int>()] += choice.at("text").get<std::string>();
  }
  CHECK(texts == std::map<int, std::string>{{0, "one a b0"}, {1, "two a b0"}});
}

TEST_CASE("a delta that shows nothing makes no event, and repeats are dropped") {
  http_fixture server;
  server.engine.gateway.on_submit = [&](const inbound_submit& request) {
    server.port->deliver({accepted_of(request), delta_of(request, 0, ""),
                          delta_of(request, 1, "ab"), delta_of(request, 1, "ab"),
                          delta_of(request, 2, "c", "stop"), finished_of(request, 3)});
  };
  const auto events =
      events_of(server.ask(post("/v1/completions", completion_body("x", streamed))).body);
  REQUIRE(events.size() == 2);
  CHECK(events[0].at("choices").at(0).at("text") == "ab");
  CHECK(events[1].at("choices").at(0).at("text") == "c");
}

TEST_CASE("text offsets of streamed logprobs go on from event to event") {
  http_fixture server;
  server.engine.gateway.on_submit = [&](const inbound_submit& request) {
    std::vector<outbound> burst;
    for (std::uint64_t offset = 0; offset < 3; ++offset) {
      burst.push_back(delta_of(request, offset, "\u00e9x"));
      position_logprobs position;
      position.chosen.token = "\u00e9x";
      std::get<delta>(burst.back().body).logprobs = {position};
    }
    burst.push_back(finished_of(request, 3));
    server.port->deliver(std::move(burst));
  };
  const json asked{{"stream", true}, {"logprobs", 0}};
  const auto events =
      events_of(server.ask(post("/v1/completions", completion_body("x", asked))).body);
  REQUIRE(events.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(events[i].at("choices").at(0).at("logprobs").at("text_offset") == json{2 * i});
  }
}

TEST_CASE("an error before the first event is a status, a later one an event") {
  http_fixture server;
  http_client client = server.connect();
  client.send(post("/v1/completions", completion_body("x", streamed)));
  auto submits = server.engine.gateway.wait_for_submits(1);
  server.deliver(accepted_of(submits.at(0)));
  server.deliver(error_of(submits.at(0), errc::unavailable, "the engine restarts"));
  const http_answer early = client.read_answer();
  CHECK(early.status == 503);
  CHECK(json::parse(early.body).contains("error"));

  client.send(post("/v1/completions", json{{"prompt", {"a", "b"}}, {"stream", true}}.dump()));
  submits = server.engine.gateway.wait_for_submits(3);
  server.deliver(delta_of(submits.at(1), 0, "text"));
  client.wait_for("\"text\"");
  server.deliver(error_of(submits.at(1), errc::internal, "a step failed"));
  const http_answer late = client.read_answer();
  CHECK(late.status == 200);
  const auto events = events_of(late.body, false);
  REQUIRE(events.size() == 2);
  CHECK(events[1].at("error").at("message") == "a step failed");
  CHECK(client.is_at_end());
  CHECK(server.engine.gateway.wait_for_cancelled(1) ==
        std::vector{submits.at(2).header.request_id});
}

TEST_CASE("HTTP/1.0 streams end with the connection") {
  http_fixture server;
  server.answer_at_once();
  std::string request = post("/v1/completions", completion_body("x", streamed));
  request.replace(request.find("HTTP/1.1"), 8, "HTTP/1.0");
  http_client client = server.connect();
  client.send(request);
  const http_answer answer = client.read_answer();
  CHECK_FALSE(answer.fields.contains("transfer-encoding"));
  CHECK(answer.fields.at("connection") == "close");
  CHECK(events_of(answer.body).size() == 3);
}

TEST_CASE("a client that leaves is reported once, whatever it waits for") {
  http_fixture server;
  for (const bool is_stream : {true, false}) {
    const std::size_t before = server.engine.gateway.wait_for_gone(0).size();
    const std::size_t submits_before = server.engine.gateway.wait_for_submits(0).size();
    http_client client = server.connect();
    client.send(post("/v1/completions", completion_body("x", {{"stream", is_stream}})));
    const auto submits = server.engine.gateway.wait_for_submits(submits_before + 1);
    REQUIRE(submits.size() == submits_before + 1);
    if (is_stream) {
      server.deliver(delta_of(submits.back(), 0, "one"));
      client.read_until("\"one\"");
    }
    client.close();
    const auto gone = server.engine.gateway.wait_for_gone(before + 1);
    REQUIRE(gone.size() == before + 1);
    CHECK(gone.back() == submits.back().client.identity);
    server.deliver(delta_of(submits.back(), 1, "too late"));
  }
  CHECK(server.ask(get("/health")).status == 200);
}

TEST_CASE("a client that leaves before its body is parsed submits nothing") {
  http_fixture server;
  server.answer_at_once();
  server.engine.jobs.hold(true);
  http_client client = server.connect();
  client.send(post("/v1/completions", completion_body("gone")));
  REQUIRE(server.engine.jobs.wait_for_waiting(1));
  client.close();
  // The port reads the close before it takes a connection that comes later.
  CHECK(server.ask(get("/health")).status == 200);
  server.engine.jobs.hold(false);
  CHECK(server.ask(post("/v1/completions", completion_body("stays"))).status == 200);
  const auto submits = server.engine.gateway.wait_for_submits(1);
  REQUIRE(submits.size() == 1);
  CHECK(std::get<submit>(submits[0].body).prompt == "stays");
}

TEST_CASE("a reader that falls behind is closed") {
  http_port_options options;
  options.bounds.outbox_bytes_max = 64 * 1024;
  SECTION("when it takes nothing") {
    options.bounds.stuck_wait_max = std::chrono::milliseconds(0);
  }
  SECTION("too far, whatever it takes") {
    options.bounds.behind_bytes_max = 1 << 20;
  }
  http_fixture server(options);
  http_client client = server.connect(4096);
  client.send(post("/v1/completions", completion_body("x", streamed)));
  const auto submits = server.engine.gateway.wait_for_submits(1);
  REQUIRE(submits.size() == 1);
  // 64 MiB: more than the kernel buffers for a connection, whatever its settings.
  const std::string text(16 * 1024, 'x');
  for (std::uint64_t offset = 0; offset < 4096; ++offset) {
    server.deliver(delta_of(submits[0], offset, text));
  }
  CHECK(server.engine.gateway.wait_for_gone(1) == std::vector{submits[0].client.identity});
  CHECK(server.ask(get("/metrics")).body.find("code=\"slow_client\",lane=\"realtime\"} 1") !=
        std::string::npos);
  // It ends without a last chunk: the client can tell that something is missing.
  CHECK_FALSE(client.read_to_end().ends_with("\r\n0\r\n\r\n"));
}

TEST_CASE("a healthy reader gets events that are larger than the outbox") {
  http_port_options options;
  options.bounds.outbox_bytes_max = 64 * 1024;
  options.bounds.stuck_wait_max = std::chrono::seconds(30);
  http_fixture server(options);
  http_client client = server.connect(4096);
  client.send(post("/v1/completions", completion_body("x", streamed)));
  const auto submits = server.engine.gateway.wait_for_submits(1);
  REQUIRE(submits.size() == 1);
  const std::string text(1 << 20, 'x');
  for (std::uint64_t offset = 0; offset < 8; ++offset) {
    server.deliver(delta_of(submits[0], offset, text));
  }
  server.deliver(finished_of(submits[0], 8));
  const http_answer answer = client.read_answer();
  CHECK(answer.body.size() > 8 * text.size());
  CHECK(answer.body.ends_with("data: [DONE]\n\n"));
}

TEST_CASE("a reader that stops is closed after a while, also with little on its way") {
  http_port_options options;
  options.bounds.outbox_bytes_max = 64 << 20;
  options.bounds.write_wait_max = std::chrono::milliseconds(200);
  options.bounds.sweep_interval = std::chrono::milliseconds(20);
  http_fixture server(options);
  http_client client = server.connect(4096);
  client.send(post("/v1/completions", completion_body("x", streamed)));
  const auto submits = server.engine.gateway.wait_for_submits(1);
  REQUIRE(submits.size() == 1);
  server.deliver(delta_of(submits[0], 0, std::string(16 << 20, 'x')));
  CHECK(server.engine.gateway.wait_for_gone(1).size() == 1);
}

TEST_CASE("500 streams run on one thread") {
  constexpr std::size_t stream_count = 500;
  constexpr std::uint64_t token_count = 20;
  // Both ends of each connection are in this process.
  rlimit files{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = files.rlim_max;
  REQUIRE(setrlimit(RLIMIT_NOFILE, &files) == 0);
  http_fixture server;
  const std::size_t threads_before = thread_count();
  std::vector<http_client> clients;
  for (std::size_t i = 0; i < stream_count; ++i) {
    clients.push_back(server.connect());
    clients.back().send(post("/v1/completions", completion_body(std::to_string(i), streamed)));
  }
  const auto submits = server.engine.gateway.wait_for_submits(stream_count);
  REQUIRE(submits.size() == stream_count);
  for (std::uint64_t offset = 0; offset < token_count; ++offset) {
    std::vector<outbound> burst;
    for (const auto& request : submits) {
      const auto& prompt = *std::get<submit>(request.body).prompt;
      const bool is_last = offset + 1 == token_count;
      burst.push_back(delta_of(request, offset, prompt + ".",
                               is_last ? std::optional<std::string>("length") : std::nullopt));
      if (is_last) burst.push_back(finished_of(request, token_count));
    }
    server.port->deliver(std::move(burst));
  }
  CHECK(thread_count() == threads_before);
  for (std::size_t i = 0; i < stream_count; ++i) {
    const auto events = events_of(clients[i].read_answer().body);
    REQUIRE(events.size() == token_count);
    for (const json& event : events) {
      REQUIRE(event.at("choices").at(0).at("text") == std::to_string(i) + ".");
    }
  }
}

}  // namespace
}  // namespace troupe::test
