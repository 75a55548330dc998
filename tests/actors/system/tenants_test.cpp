// Tenants through all actors: lanes and rates at the gateway's door, a charge once the prompt is
// counted, demotion with its credits, and allowances that are whole again when requests end,
// however they end.
#include <catch2/catch.hpp>

#include "tests/actors/system/readers.hpp"

namespace troupe::test {
namespace {

constexpr auto gold = static_cast<account_index>(0), bulk = static_cast<account_index>(1);

world_options options_with_tenants(std::vector<outbound>& events) {
  world_options options;
  options.limits.max_model_len = 64;
  options.limits.max_num_seqs = 4;
  options.limits.max_num_batched_tokens = 32;
  options.limits.block_tokens = 4;
  options.limits.block_count = 64;
  options.credits = {3, 3, 3};
  options.tenants.tenants.resize(2);
  for (int i = 0; i < 2; ++i) {
    tenant_config& tenant = options.tenants.tenants[i];
    tenant.name = i == 0 ? "gold" : "bulk";
    tenant.lanes = {"vip"};
    tenant.tokens_per_second = 1.0;
    tenant.burst_tokens = 100;
    tenant.over_rate = i == 0 ? "refuse" : "demote";
  }
  options.on_event = [&events](const outbound& event) { events.push_back(event); };
  return options;
}

result<void> ask(world& in, const std::string& id, account_index account, std::int64_t max_tokens,
                 lane service = lane::vip, std::int64_t sequences = 1) {
  submit request;
  request.n = sequences;
  request.prompt_token_ids = std::vector<std::int64_t>(10, 30);
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  envelope_header header;
  header.kind = message_kind::submit;
  header.request_id = id;
  header.service = service;
  inbound_submit inbound{{0, id}, header, request, "tenant", false};
  inbound.account = account;
  return in.link().submit(std::move(inbound));
}

/// The code of a request's error; "finished"; empty while it runs.
std::string outcome(const std::vector<outbound>& events, const std::string& id) {
  for (const outbound& event : events) {
    if (event.header.request_id != id) continue;
    if (event.header.kind == message_kind::finished) return "finished";
    if (const auto* failure = std::get_if<error_reply>(&event.body)) return failure->code;
  }
  return {};
}

/// Whether the tenant's allowance has this much: it is open after such a charge, less one.
bool has_allowance(world& in, account_index account, std::uint64_t tokens) {
  const admission vip{lane::vip, false, 0};
  const auto now = std::chrono::nanoseconds{};  // the world's clock has moved: time stands still
  if (!in.tenants().charge(account, vip, tokens - 1, now)) return false;
  const auto still_open = in.tenants().enter(account, lane::vip, now);
  return still_open && still_open->service == lane::vip;
}

TEST_CASE("a lane that is not the tenant's is refused at the door") {
  std::vector<outbound> events;
  world in(options_with_tenants(events));
  const auto refused = ask(in, "a", gold, 5, lane::async);
  REQUIRE_FALSE(refused);
  CHECK(refused.failure().code == errc::permission_denied);
  CHECK(in.gate().credits(lane::async) == 3);
}

TEST_CASE("what a request did not use comes back when it ends") {
  std::vector<outbound> events;
  world in(options_with_tenants(events));
  REQUIRE(ask(in, "a", gold, 50));  // 10 + 50 of 100
  in.settle();
  CHECK(outcome(events, "a") == "finished");
  CHECK_FALSE(has_allowance(in, gold, 41 + 60));
  REQUIRE(ask(in, "b", bulk, 50));
  in.link().cancel({0, "b"}, "tenant", "b");
  in.settle();
  CHECK(outcome(events, "b") == "aborted");
  CHECK(has_allowance(in, bulk, 100));
}

TEST_CASE("requests that came in together and exceed the rate are refused once they are counted") {
  std::vector<outbound> events;
  world in(options_with_tenants(events));
  REQUIRE(ask(in, "a", gold, 50));
  REQUIRE(ask(in, "b", gold, 50));
  REQUIRE(ask(in, "c", gold, 50));
  CHECK_FALSE(ask(in, "d", gold, 50));  // no credit
  in.settle();
  int finished = 0, limited = 0;
  for (const auto* id : {"a", "b", "c"}) {
    finished += outcome(events, id) == "finished";
    limited += outcome(events, id) == "rate_limited";
  }
  CHECK(finished >= 1);
  CHECK(finished + limited == 3);
  for (const lane service : all_lanes) CHECK(in.gate().credits(service) == 3);
  CHECK(in.measured().values().at("lane_sla_attainment.vip") <= 1.0);
}

TEST_CASE("what the scheduler refuses is counted as refused, once, and costs its tenant nothing") {
  std::vector<outbound> events;
  world in(options_with_tenants(events));
  REQUIRE(ask(in, "a", gold, 5, lane::vip, 5));  // more sequences than may run
  in.settle();
  CHECK(outcome(events, "a") == "invalid_argument");
  CHECK(in.measured().values().at("requests_refused_total") == 1.0);
  CHECK_THAT(in.measured().exposition(),
             Catch::Contains("code=\"invalid_argument\",lane=\"vip\"} 1"));
  CHECK(in.measured().values().at("request_success_total") == 0.0);
  CHECK(in.gate().credits(lane::vip) == 3);
  CHECK(has_allowance(in, gold, 100));
}

TEST_CASE("above its rate a tenant's request goes on in the async lane, and says so") {
  std::vector<outbound> events;
  world in(options_with_tenants(events));
  const admission vip{lane::vip, false, 0};
  REQUIRE(in.tenants().charge(bulk, vip, 1'000'000, std::chrono::nanoseconds{}));
  REQUIRE(ask(in, "at-the-door", bulk, 5));
  CHECK(in.gate().credits(lane::async) == 2);
  CHECK(in.gate().credits(lane::vip) == 3);
  in.settle();
  CHECK(outcome(events, "at-the-door") == "finished");
  for (const outbound& event : events) CHECK(event.header.service == lane::async);
  CHECK(in.measured().values().at("requests_demoted_total") == 1.0);
  CHECK(in.gate().credits(lane::async) == 3);
}

TEST_CASE("a request that is demoted after its prompt was counted changes its credit") {
  std::vector<outbound> events;
  world in(options_with_tenants(events));
  REQUIRE(ask(in, "a", bulk, 5));
  REQUIRE(ask(in, "b", bulk, 5));
  const admission vip{lane::vip, false, 0};
  REQUIRE(in.tenants().charge(bulk, vip, 1'000'000, std::chrono::nanoseconds{}));
  in.settle();
  for (const auto* id : {"a", "b"}) CHECK(outcome(events, id) == "finished");
  for (const outbound& event : events) CHECK(event.header.service == lane::async);
  for (const lane service : all_lanes) CHECK(in.gate().credits(service) == 3);
  CHECK(in.measured().values().at("requests_demoted_total") == 2.0);
}

TEST_CASE("lower lanes may fill only a part of the bytes in preparation") {
  admission_gate gate({10, 10, 10}, 1000);
  gate.open();
  CHECK(gate.enter(lane::async, 500));
  CHECK(gate.enter(lane::async, 1).failure().code == errc::overloaded);
  CHECK(gate.enter(lane::realtime, 250));
  CHECK_FALSE(gate.enter(lane::realtime, 1));
  CHECK(gate.enter(lane::vip, 250));
  CHECK_FALSE(gate.enter(lane::vip, 1));
  CHECK(gate.credits(lane::async) == 9);
  CHECK(gate.move(lane::async, lane::vip));
  CHECK(gate.credits(lane::async) == 10);
  CHECK(gate.credits(lane::vip) == 8);
}

}  // namespace
}  // namespace troupe::test
