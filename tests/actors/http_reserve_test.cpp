// More connections than the port has places for: who is still served, who gives way, and that no
// flood of connections keeps a VIP out.
#include <catch2/catch.hpp>

#include "tests/actors/http_fixture.hpp"

namespace troupe::test {
namespace {

using std::chrono::milliseconds;

/// Nobody gives way within a test, and what is said too late is said soon.
http_port_options few_places(std::size_t ordinary, std::size_t reserve, std::size_t important) {
  http_port_options options;
  options.bounds.session_count_max = ordinary;
  options.bounds.reserve_session_count_max = reserve;
  options.bounds.important_session_count_max = important;
  options.bounds.give_way_wait_min = std::chrono::hours(1);
  options.bounds.reserve_wait_max = milliseconds(100);
  options.bounds.sweep_interval = milliseconds(20);
  return options;
}

std::vector<http_client> take_places(const http_fixture& server, std::size_t count) {
  std::vector<http_client> kept;
  for (std::size_t i = 0; i < count; ++i) {
    kept.push_back(server.connect());
    kept.back().send(get("/health"));
    REQUIRE(kept.back().read_answer().status == 200);
  }
  return kept;
}

std::string in_lane(std::string_view name, std::string_view key = "") {
  std::string fields = "X-Troupe-Lane: " + std::string(name) + "\r\n";
  if (!key.empty()) fields += "Authorization: Bearer " + std::string(key) + "\r\n";
  return fields;
}

std::string ask_for(std::string_view fields) {
  return post("/v1/completions", completion_body("x"), fields);
}

server_config lanes_of_tenants() {
  server_config config;
  config.api_key = {"plain"};
  const auto add = [&](std::string name, std::vector<std::string> lanes) -> tenant_config& {
    tenant_config& made = config.tenants.emplace_back();
    made.api_keys = {name};
    made.name = std::move(name);
    made.lanes = std::move(lanes);
    return made;
  };
  add("gold", {"vip", "realtime"});
  add("only", {"vip"});
  add("bulk", {"realtime", "async"});
  tenant_config& spent = add("spent", {"vip"});
  spent.tokens_per_second = 1.0;
  spent.burst_tokens = 1;
  spent.over_rate = "demote";
  return config;
}

TEST_CASE("connections beyond the limit answer probes and refuse the rest, and slots come free") {
  http_fixture server(few_places(4, 2, 0));
  auto kept = take_places(server, 4);
  for (const char* path : {"/health", "/metrics", "/version"}) {
    http_client probe = server.connect();
    probe.send(get(path) + get(path));
    const http_answer answer = probe.read_answer();
    CHECK(answer.status == 200);
    CHECK(answer.fields.at("connection") == "close");
    CHECK(probe.is_at_end());
  }
  for (const std::string& other : {post("/v1/completions", completion_body("x")), get("/v1/models"),
                                   get("/nowhere"), post("/health", "{}"), std::string()}) {
    INFO(other);
    http_client refused = server.connect();
    refused.send(other);  // who says nothing is told so after a while
    const http_answer answer = refused.read_answer();
    CHECK(answer.status == 503);
    CHECK(answer.body.find("all 4 connections are taken") != std::string::npos);
    CHECK(refused.is_at_end());
  }
  kept.pop_back();
  const auto deadline = std::chrono::steady_clock::now() + wait_max;
  unsigned status = 0;
  while (status != 200 && std::chrono::steady_clock::now() < deadline) {
    status = server.ask(get("/v1/models")).status;  // 503 until the server has read the close
  }
  CHECK(status == 200);
}

TEST_CASE("a request for the vip lane is served beyond the limit, within a bound") {
  http_fixture server(few_places(2, 4, 2));
  server.answer_at_once();
  const auto kept = take_places(server, 2);
  CHECK(server.ask(ask_for("")).status == 503);
  CHECK(server.ask(ask_for(in_lane("realtime"))).status == 503);
  CHECK(server.ask(ask_for(in_lane("vvip"))).status == 503);

  std::vector<http_client> important;
  for (int i = 0; i < 2; ++i) {
    important.push_back(server.connect());
    for (int request = 0; request < 3; ++request) {
      important.back().send(ask_for(in_lane("vip")));
      const http_answer answer = important.back().read_answer();
      CHECK(answer.status == 200);
      CHECK(answer.fields.at("connection") == "keep-alive");
    }
  }
  CHECK(server.ask(ask_for(in_lane("vip"))).status == 503);
  important.front().close();
  const auto deadline = std::chrono::steady_clock::now() + wait_max;
  unsigned status = 0;
  while (status != 200 && std::chrono::steady_clock::now() < deadline)
    status = server.ask(ask_for(in_lane("vip"))).status;
  CHECK(status == 200);

  // It goes on as long as it is important.
  important.back().send(ask_for("") + ask_for(in_lane("vip")));
  CHECK(important.back().read_answer().status == 503);
  CHECK(important.back().is_at_end());
}

TEST_CASE("the body of an important request may come later than the reserve would wait") {
  http_fixture server(few_places(1, 1, 1));
  server.answer_at_once();
  const auto kept = take_places(server, 1);
  const std::string request = ask_for(in_lane("vip") + "Expect: 100-continue\r\n");
  const std::size_t body = request.find("\r\n\r\n") + 4;
  http_client client = server.connect();
  client.send(std::string_view(request).substr(0, body));
  CHECK(client.read_answer().status == 100);
  CHECK(server.connect().read_answer().status == 503);  // after reserve_wait_max
  client.send(std::string_view(request).substr(body));
  CHECK(client.read_answer().status == 200);
}

TEST_CASE("the key decides whose request is important") {
  http_fixture server(few_places(1, 4, 4), lanes_of_tenants());
  server.answer_at_once();
  REQUIRE(server.engine.tenants.charge(static_cast<account_index>(3), {.service = lane::vip}, 1'000,
                                       std::chrono::steady_clock::now().time_since_epoch()));
  const auto kept = take_places(server, 1);
  const auto status_of = [&](std::string_view key, std::string_view lane_name) {
    const std::string fields = "Authorization: Bearer " + std::string(key) + "\r\n";
    return server.ask(ask_for(lane_name.empty() ? fields : in_lane(lane_name, key))).status;
  };
  CHECK(status_of("gold", "vip") == 200);
  CHECK(status_of("gold", "realtime") == 503);
  CHECK(status_of("gold", "") == 503);
  CHECK(status_of("only", "vip") == 200);
  CHECK(status_of("only", "") == 200);
  CHECK(status_of("only", "async") == 503);
  CHECK(status_of("bulk", "vip") == 503);
  CHECK(status_of("bulk", "") == 503);
  CHECK(status_of("plain", "vip") == 503);
  CHECK(status_of("nobody", "vip") == 503);
  CHECK(server.ask(ask_for(in_lane("vip"))).status == 503);
  CHECK(status_of("spent", "vip") == 503);  // it would be demoted
}

TEST_CASE("the oldest of the reserve gives way, so that silence keeps nobody out") {
  http_port_options options = few_places(1, 3, 1);
  options.bounds.reserve_wait_max = wait_max;
  http_fixture server(options);
  server.answer_at_once();
  const auto kept = take_places(server, 1);
  std::vector<http_client> silent;
  for (int i = 0; i < 3; ++i) silent.push_back(server.connect());
  silent.front().send("POST /v1/completions HTTP/1.1\r\nHost: t\r\n");
  for (int i = 0; i < 3; ++i) {
    http_client next = server.connect();
    CHECK(silent[static_cast<std::size_t>(i)].is_at_end());
    silent.push_back(std::move(next));
  }
  CHECK(server.ask(get("/health")).status == 200);
  CHECK(server.ask(ask_for(in_lane("vip"))).status == 200);
  CHECK(server.ask(ask_for("")).status == 503);
}

TEST_CASE("a connection that waits for a request gives way to a new one, the longest first") {
  http_port_options options = few_places(3, 1, 0);
  options.bounds.give_way_wait_min = milliseconds(0);
  http_fixture server(options);
  auto kept = take_places(server, 2);
  http_client streaming = server.connect();
  streaming.send(post("/v1/completions", completion_body("x", {{"stream", true}})));
  const auto submits = server.engine.gateway.wait_for_submits(1);
  REQUIRE(submits.size() == 1);
  kept.front().send(get("/health"));  // now it is the other that has waited longer
  CHECK(kept.front().read_answer().status == 200);

  http_client first = server.connect();
  CHECK(kept.back().is_at_end());
  first.send(get("/v1/models"));
  CHECK(first.read_answer().status == 200);
  http_client second = server.connect();
  CHECK(kept.front().is_at_end());
  second.send("GET /v1/mod");

  // What streams, and what is in the middle of a head, stays.
  http_client third = server.connect();
  CHECK(first.is_at_end());
  third.send("GET /v1/mod");
  http_client reserved = server.connect();
  reserved.send(get("/v1/models"));
  CHECK(reserved.read_answer().status == 503);
  second.send("els HTTP/1.1\r\nHost: t\r\n\r\n");
  CHECK(second.read_answer().status == 200);
  server.deliver(delta_of(submits[0], 0, "one", "length"));
  server.deliver(finished_of(submits[0], 1));
  streaming.read_until("data: [DONE]\n\n");
}

}  // namespace
}  // namespace troupe::test
