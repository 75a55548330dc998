// HTTP as broken, hostile or hurried clients speak it: split and pipelined requests, sizes, waits,
// garbage, and how the port stops under all of it.
#include <random>

#include <catch2/catch.hpp>

#include "tests/actors/http_fixture.hpp"

namespace troupe::test {
namespace {

using std::chrono::milliseconds;

TEST_CASE("a request may arrive byte by byte") {
  http_fixture server;
  server.answer_at_once();
  http_client client = server.connect();
  for (const char byte : post("/v1/completions", completion_body("slow"))) {
    client.send({&byte, 1});
  }
  CHECK(json::parse(client.read_answer().body).at("choices").at(0).at("text") == "slow a b0");

  const std::string chunked =
      "\r\n\r\nPOST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5;name=value\r\n{\"pro\r\ne\r\nmpt\": \"two\"  }\r\n0\r\nTrailer: x\r\n\r\n";
  for (const char byte : chunked) client.send({&byte, 1});
  CHECK(json::parse(client.read_answer().body).at("choices").at(0).at("text") == "two a b0");
}

TEST_CASE("pipelined requests are answered in order") {
  http_fixture server;
  server.answer_at_once();
  http_client client = server.connect();
  std::string all;
  for (int i = 0; i < 20; ++i) {
    all += post("/v1/completions", completion_body(std::to_string(i), {{"stream", i % 2 == 1}}));
    all += get("/version");
  }
  client.send(all);
  for (int i = 0; i < 20; ++i) {
    const http_answer answer = client.read_answer();
    const json first = i % 2 == 1 ? events_of(answer.body).at(0) : json::parse(answer.body);
    CHECK(first.at("choices").at(0).at("text").get<std::string>().starts_with(std::to_string(i)));
    CHECK(json::parse(client.read_answer().body).contains("version"));
  }
}

TEST_CASE("a flood of pipelined requests waits for its replies to be read") {
  http_port_options options;
  options.bounds.outbox_bytes_max = 32 * 1024;
  options.bounds.pipeline_bytes_max = 8 * 1024;
  http_fixture server(options);
  http_client client = server.connect(4096);
  constexpr int request_count = 3000;
  std::jthread sender([&] {
    std::string all;
    for (int i = 0; i < request_count; ++i) all += get("/v1/models");
    client.try_send(all);
  });
  int answered = 0;
  for (; answered < request_count && client.read_answer().status == 200; ++answered) {
  }
  CHECK(answered == request_count);
}

TEST_CASE("Connection: close and HTTP/1.0 end the connection") {
  http_fixture server;
  http_client client = server.connect();
  client.send(get("/health", "Connection: close\r\n"));
  CHECK(client.read_answer().fields.at("connection") == "close");
  CHECK(client.is_at_end());

  http_client old = server.connect();
  old.send("GET /health HTTP/1.0\r\n\r\n");
  CHECK(old.read_answer().status == 200);
  CHECK(old.is_at_end());
}

TEST_CASE("a client that only stops sending still gets its reply") {
  http_fixture server;
  http_client client = server.connect();
  client.send(get("/metrics"));
  client.close_sending();
  CHECK(client.read_answer().status == 200);
  CHECK(client.is_at_end());
}

TEST_CASE("Expect: 100-continue") {
  http_port_options options;
  options.bounds.body_bytes_max = 1000;
  http_fixture server(options);
  server.answer_at_once();
  const std::string body = completion_body("x");
  const auto head = [](std::size_t length, const char* path = "/v1/completions") {
    return std::string("POST ") + path +
           " HTTP/1.1\r\nHost: t\r\nContent-Length: " + std::to_string(length) +
           "\r\nExpect: 100-continue\r\n\r\n";
  };
  http_client client = server.connect();
  client.send(head(body.size()));
  CHECK(client.read_answer().status == 100);
  client.send(body);
  CHECK(client.read_answer().status == 200);

  client.send(head(1001));
  CHECK(client.read_answer().status == 413);
  CHECK(client.is_at_end());

  http_client lost = server.connect();
  lost.send(head(10, "/nowhere"));
  CHECK(lost.read_answer().status == 404);
  CHECK(lost.is_at_end());
}

TEST_CASE("what is too large is refused, and the client sees it") {
  http_port_options options;
  options.bounds.body_bytes_max = 10'000;
  options.bounds.header_bytes_max = 2'000;
  http_fixture server(options);
  SECTION("by its length field, with the body on its way") {
    http_client client = server.connect();
    client.try_send(post("/v1/completions", std::string(4 << 20, ' ')));
    const http_answer answer = client.read_answer();
    CHECK(answer.status == 413);
    CHECK(json::parse(answer.body).at("error").contains("message"));
    CHECK(client.is_at_end());
  }
  SECTION("in chunks") {
    http_client client = server.connect();
    client.send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 3; ++i) client.try_send("1000\r\n" + std::string(4096, ' ') + "\r\n");
    CHECK(client.read_answer().status == 413);
  }
  SECTION("header fields, also ones that never end") {
    http_client client = server.connect();
    client.try_send("GET /health HTTP/1.1\r\nX: " + std::string(3000, 'x'));
    CHECK(client.read_answer().status == 431);
    CHECK(server.ask(get("/health", "X: " + std::string(2500, 'x') + "\r\n")).status == 431);
  }
  CHECK(server.ask(get("/health")).status == 200);
}

TEST_CASE("bodies that arrive at once share a budget, which comes back") {
  http_port_options options;
  options.bounds.bodies_bytes_max = 100'000;
  http_fixture server(options);
  server.answer_at_once();
  server.engine.jobs.hold(true);
  http_client first = server.connect();
  first.send(post("/v1/completions", completion_body(std::string(60'000, 'x'))));
  REQUIRE(server.engine.jobs.wait_for_waiting(1));
  const http_answer refused =
      server.ask(post("/v1/completions", completion_body(std::string(60'000, 'y'))));
  CHECK(refused.status == 429);
  server.engine.jobs.hold(false);
  CHECK(first.read_answer().status == 200);
  REQUIRE(server.engine.jobs.wait_until_idle());
  CHECK(server.ask(post("/v1/completions", completion_body(std::string(60'000, 'z')))).status ==
        200);
}

TEST_CASE("malformed requests get 400 and lose the connection") {
  http_fixture server;
  for (const char* bytes :
       {"garbage\r\n\r\n", "GET\r\n\r\n", "GET /health\r\n\r\n",
        "GET /health HTTP/1.1\r\nbad field\r\n\r\n", "GET  /health HTTP/1.1\r\n\r\n",
        "GET /health HTTP/1.1\r\n\r\n", "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /health HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        "POST /tokenize HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST /tokenize HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /tokenize HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "POST /tokenize HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        "POST /tokenize HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "\x16\x03\x01\x02\x01\x01\xfc\x03\x03 a TLS hello\r\n\r\n"}) {
    INFO(bytes);
    http_client client = server.connect();
    client.send(bytes);
    const http_answer answer = client.read_answer();
    CHECK(answer.status == 400);
    CHECK(json::parse(answer.body).contains("error"));
    CHECK(client.is_at_end());
  }
  CHECK(server.ask("GET /health HTTP/2.0\r\n\r\n").status == 505);
}

TEST_CASE("waits end: half a request, an idle connection, a client that lingers") {
  http_port_options options;
  options.bounds.request_wait_max = milliseconds(100);
  options.bounds.idle_wait_max = milliseconds(300);
  options.bounds.linger_wait_max = milliseconds(100);
  options.bounds.sweep_interval = milliseconds(20);
  http_fixture server(options);
  http_client half = server.connect();
  half.send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{");
  CHECK(half.read_answer().status == 408);
  CHECK(half.is_at_end());

  http_client idle = server.connect();
  CHECK(idle.is_at_end());

  // The sender of a refused body goes on and on; the server does not wait for it.
  http_client stubborn = server.connect();
  stubborn.send("POST /nowhere HTTP/1.1\r\nHost: t\r\nContent-Length: 8000000\r\n\r\n");
  CHECK(stubborn.read_answer().status == 404);
  const auto deadline = std::chrono::steady_clock::now() + wait_max;
  while (stubborn.try_send("more ") && std::chrono::steady_clock::now() < deadline) {
  }
  CHECK(std::chrono::steady_clock::now() < deadline);
}

TEST_CASE("garbage never harms the server") {
  http_fixture server;
  server.answer_at_once();
  const unsigned seed = GENERATE(1u, 2u, 3u, 4u);
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto below = [&](std::size_t bound) {
    return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random);
  };
  const std::vector<std::string> valid{
      post("/v1/completions", completion_body("x", {{"stream", true}, {"n", 2}})),
      post("/v1/chat/completions", chat_body()), post("/tokenize", "{\"prompt\": \"a b c\"}"),
      get("/metrics"),
      "POST /detokenize HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n{\"tokens\": "
      "[1]}\r\n0\r\n\r\n"};
  for (int round = 0; round < 100; ++round) {
    std::string bytes;
    for (std::size_t i = 0, count = 1 + below(4); i < count; ++i)
      bytes += valid[below(valid.size())];
    for (std::size_t i = 0, count = below(6); i < count; ++i) {
      const std::size_t at = below(bytes.size());
      switch (below(4)) {
        case 0: bytes[at] = static_cast<char>(below(256)); break;
        case 1: bytes.insert(at, 1 + below(40), static_cast<char>(below(256))); break;
        case 2: bytes.erase(at, 1 + below(20)); break;
        default: bytes.resize(at + 1); break;
      }
    }
    http_client client = server.connect();
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t length = std::min(1 + below(bytes.size()), bytes.size() - at);
      if (!client.try_send(std::string_view(bytes).substr(at, length))) break;
      at += length;
    }
    if (below(2) == 0) {
      client.close_sending();
      client.read_to_end();
    }
  }
  CHECK(server.ask(get("/health")).status == 200);
  CHECK(server.ask(post("/v1/completions", completion_body("alive"))).status == 200);
}

TEST_CASE("stop lets running requests end within the grace") {
  http_fixture server;
  http_client idle = server.connect();
  idle.send(get("/health"));
  CHECK(idle.read_answer().status == 200);
  http_client client = server.connect();
  client.send(post("/v1/completions", completion_body("x", {{"stream", true}})));
  const auto submits = server.engine.gateway.wait_for_submits(1);
  REQUIRE(submits.size() == 1);
  server.deliver(delta_of(submits[0], 0, "one"));
  client.read_until("\"one\"");

  std::jthread stopper([&] { server.port->stop(wait_max); });
  CHECK(idle.is_at_end());  // it stops now
  CHECK_THROWS(http_client(server.port->local_port()));
  server.deliver(delta_of(submits[0], 1, " two", "length"));
  server.deliver(finished_of(submits[0], 2));
  client.read_until("data: [DONE]\n\n\r\n0\r\n\r\n");
  CHECK(client.is_at_end());
  stopper.join();
  CHECK(server.engine.gateway.wait_for_gone(0).empty());
  server.deliver(finished_of(submits[0], 2));  // harmless
}

TEST_CASE("stop ends what outlasts the grace") {
  http_fixture server;
  http_client client = server.connect();
  client.send(post("/v1/completions", completion_body("x")));
  const auto submits = server.engine.gateway.wait_for_submits(1);
  REQUIRE(submits.size() == 1);
  server.port->stop(milliseconds(50));
  CHECK(client.is_at_end());
  CHECK(server.engine.gateway.wait_for_gone(1) == std::vector{submits[0].client.identity});
  server.port->stop(milliseconds(50));  // again: nothing happens
}

TEST_CASE("a body parsed after the port is gone goes nowhere") {
  http_fixture server;
  server.engine.jobs.hold(true);
  http_client client = server.connect();
  client.send(post("/v1/completions", completion_body("x")));
  REQUIRE(server.engine.jobs.wait_for_waiting(1));
  server.port.reset();
  server.engine.jobs.hold(false);
  REQUIRE(server.engine.jobs.wait_until_idle());
  CHECK(server.engine.gateway.wait_for_submits(0).empty());
}

}  // namespace
}  // namespace troupe::test
