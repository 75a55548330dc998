// Tenants over HTTP: the key decides whose a request is, a lane that the tenant may not use and a
// rate that is spent are refused with their status, before the body is read where the head names
// the lane.
#include <catch2/catch.hpp>

#include "tests/actors/http_fixture.hpp"

namespace troupe::test {
namespace {

server_config two_tenants() {
  server_config config;
  config.api_key = {"plain"};
  config.tenants.resize(2);
  config.tenants[0].name = "gold";
  config.tenants[0].api_keys = {"g"};
  config.tenants[0].lanes = {"vip"};
  config.tenants[0].tokens_per_second = 1.0;
  config.tenants[0].burst_tokens = 10;
  config.tenants[1].name = "bulk";
  config.tenants[1].api_keys = {"b"};
  return config;
}

std::string with_key(std::string_view key, std::string_view lane_name = "") {
  std::string fields = "Authorization: Bearer " + std::string(key) + "\r\n";
  if (!lane_name.empty()) fields += "X-Troupe-Lane: " + std::string(lane_name) + "\r\n";
  return fields;
}

std::string error_type_of(const http_answer& answer) {
  return json::parse(answer.body).at("error").at("type");
}

TEST_CASE("a key's requests carry its tenant") {
  http_fixture server({}, two_tenants());
  server.answer_at_once();
  CHECK(server.ask(post("/v1/completions", completion_body("x"), with_key("g", "vip"))).status ==
        200);
  CHECK(server.ask(post("/v1/completions", completion_body("x"), with_key("b"))).status == 200);
  CHECK(server.ask(post("/v1/completions", completion_body("x"), with_key("plain"))).status == 200);
  CHECK(server.ask(post("/v1/completions", completion_body("x"), with_key("other"))).status == 401);
  const auto submits = server.engine.gateway.wait_for_submits(3);
  REQUIRE(submits.size() == 3);
  CHECK(submits[0].tenant == "gold");
  CHECK(submits[0].account == static_cast<account_index>(0));
  CHECK(submits[0].arrival.has_value());
  CHECK(submits[1].tenant == "bulk");
  CHECK(submits[1].account == static_cast<account_index>(1));
  CHECK(submits[2].tenant == "key-0");
  CHECK(submits[2].account == account_index::stranger);
}

TEST_CASE("a lane in the head that the tenant may not use is refused before the body") {
  http_fixture server({}, two_tenants());
  const http_answer refused =
      server.ask(post("/v1/completions", completion_body("x"), with_key("b", "vip")));
  CHECK(refused.status == 403);
  CHECK(error_type_of(refused) == "PermissionDeniedError");
  CHECK_THAT(refused.body, Catch::Contains("it may use realtime, async"));
  CHECK(server.ask(post("/tokenize", R"({"prompt": "x"})", with_key("plain", "vip"))).status ==
        403);
  CHECK(server.engine.gateway.wait_for_submits(0).empty());
}

TEST_CASE("a tenant above its rate is told to wait") {
  http_fixture server({}, two_tenants());
  const auto gold = static_cast<account_index>(0);
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  REQUIRE(server.engine.tenants.charge(gold, {.service = lane::vip}, 100'000, now));
  const http_answer refused =
      server.ask(post("/v1/completions", completion_body("x"), with_key("g", "vip")));
  CHECK(refused.status == 429);
  CHECK(error_type_of(refused) == "RateLimitError");
  CHECK(json::parse(refused.body).at("error").at("reason") == "rate_limited");
  const auto wait_s = std::stoll(refused.fields.at("retry-after"));
  CHECK(wait_s <= 100'000 - 10);  // the burst is 10 of 100,000 tokens, at one a second
  CHECK(wait_s >= 100'000 - 10 - 60);
  CHECK_THAT(server.ask(get("/metrics")).body,
             Catch::Contains("code=\"rate_limited\",lane=\"vip\"} 1"));
}

TEST_CASE("a rate that is found spent once the prompt is counted has its wait too") {
  http_fixture server({}, two_tenants());
  const auto gold = static_cast<account_index>(0);
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  REQUIRE(server.engine.tenants.charge(gold, {.service = lane::vip}, 1'000, now));
  http_client client = server.connect();
  client.send(post("/v1/completions", completion_body("x", {{"lane", "vip"}}), with_key("g")));
  const auto submits = server.engine.gateway.wait_for_submits(1);
  REQUIRE(submits.size() == 1);
  server.deliver(error_of(submits[0], errc::rate_limited, "above its rate"));
  const http_answer refused = client.read_answer();
  CHECK(refused.status == 429);
  CHECK(std::stoll(refused.fields.at("retry-after")) >= 1'000 - 10 - 60);
}

TEST_CASE("what the gateway refuses for the lane in a body has its status") {
  http_fixture server({}, two_tenants());
  server.engine.gateway.admit = [](std::size_t) -> result<void> {
    return error{errc::permission_denied, "not your lane"};
  };
  CHECK(server.ask(post("/v1/completions", completion_body("x", {{"lane", "vip"}}), with_key("b")))
            .status == 403);
}

}  // namespace
}  // namespace troupe::test
