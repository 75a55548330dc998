// Tenants: whose a key or an identity is, which lanes they may use, and the token rate, by random
// operations against a naive model which keeps every charge and adds up what a span may take.
#include "runtime/intake/tenancy.hpp"

#include <random>
#include <vector>

#include <catch2/catch.hpp>

namespace troupe {
namespace {

using namespace std::chrono_literals;

server_config two_tenants() {
  server_config config;
  config.api_key = {"plain"};
  config.tenants.resize(2);
  config.tenants[0] = {.name = "gold",
                       .api_keys = {"g1", "g2"},
                       .zmq_identities = {"gold-*", "g", "shared-gold-*"},
                       .lanes = {"vip", "realtime"},
                       .tokens_per_second = 100.0,
                       .burst_tokens = 1000,
                       .share = 3.0,
                       .over_rate = "refuse"};
  config.tenants[1] = {.name = "bulk",
                       .api_keys = {"b"},
                       .zmq_identities = {"shared-*"},
                       .lanes = {"vip", "async"},
                       .tokens_per_second = 10.0,
                       .over_rate = "demote"};
  return config;
}

constexpr auto gold = static_cast<account_index>(0), bulk = static_cast<account_index>(1);

TEST_CASE("without tenants every key is one, all ZeroMQ clients are one, and nobody has limits") {
  server_config config;
  config.api_key = {"a", "b"};
  tenancy tenants(config, 0ns);
  CHECK(tenants.http_keys() == config.api_key);
  CHECK(tenants.of_key(1).name == "key-1");
  CHECK(tenants.of_key(std::nullopt).name.empty());
  CHECK(tenants.of_identity("any").name == "local");
  for (const auto& who :
       {tenants.of_key(0), tenants.of_key(std::nullopt), tenants.of_identity("x")}) {
    for (const lane service : all_lanes) {
      const auto entered = tenants.enter(who.account, service, 0ns);
      REQUIRE(entered);
      CHECK(entered->service == service);
      CHECK(tenants.charge(who.account, *entered, 1'000'000'000, 0ns)->charged == 0);
    }
    CHECK(tenants.share(who.account) == 1.0);
  }
}

TEST_CASE("keys and identities find their tenant") {
  const tenancy tenants(two_tenants(), 0ns);
  CHECK(tenants.http_keys() == std::vector<std::string>{"plain", "g1", "g2", "b"});
  CHECK(tenants.of_key(2).account == gold);
  CHECK(tenants.of_key(3).name == "bulk");
  CHECK(tenants.of_key(0).name == "key-0");
  CHECK(tenants.of_key(0).account == account_index::stranger);
  CHECK(tenants.of_key(std::nullopt).account == account_index::stranger);
  CHECK(tenants.of_identity("gold-1").account == gold);
  CHECK(tenants.of_identity("gold-").account == gold);
  CHECK(tenants.of_identity("gold").account == account_index::stranger);
  CHECK(tenants.of_identity("g").account == gold);
  CHECK(tenants.of_identity("g2").account == account_index::stranger);
  CHECK(tenants.of_identity("shared-x").account == bulk);
  CHECK(tenants.of_identity("shared-gold-x").account == gold);
  CHECK(tenants.of_identity("").name == "local");
  CHECK(tenants.share(gold) == 3.0);
}

TEST_CASE("a tenant has the lanes that it was given, and a stranger all but vip") {
  tenancy tenants(two_tenants(), 0ns);
  const auto refused = tenants.enter(gold, lane::async, 0ns);
  REQUIRE_FALSE(refused);
  CHECK(refused.failure().code == errc::permission_denied);
  CHECK(refused.failure().message ==
        "tenant 'gold' may not use the async lane; it may use vip, realtime");
  CHECK_FALSE(tenants.enter(bulk, lane::realtime, 0ns));
  CHECK(tenants.enter(account_index::stranger, lane::vip, 0ns).failure().code ==
        errc::permission_denied);
  CHECK(tenants.enter(account_index::stranger, lane::async, 0ns));
  CHECK(tenants.enter(account_index::unlimited, lane::vip, 0ns));
}

TEST_CASE("the vip lane is entered by name, by right, and below the rate") {
  tenancy tenants(two_tenants(), 0ns);
  CHECK(tenants.enters_vip(gold, lane::vip, 0ns));
  CHECK_FALSE(tenants.enters_vip(gold, lane::realtime, 0ns));
  CHECK_FALSE(tenants.enters_vip(gold, std::nullopt, 0ns));
  CHECK_FALSE(tenants.enters_vip(account_index::stranger, lane::vip, 0ns));
  CHECK(tenants.enters_vip(account_index::unlimited, lane::vip, 0ns));
  CHECK_FALSE(tenants.enters_vip(account_index::unlimited, std::nullopt, 0ns));
  REQUIRE(tenants.charge(gold, *tenants.enter(gold, lane::vip, 0ns), 1500, 0ns));
  CHECK_FALSE(tenants.enters_vip(gold, lane::vip, 0ns));
  REQUIRE(tenants.charge(bulk, *tenants.enter(bulk, lane::vip, 0ns), 1000, 0ns));
  CHECK_FALSE(tenants.enters_vip(bulk, lane::vip, 0ns));  // it would be demoted

  server_config config;
  config.tenants.resize(1);
  config.tenants[0].name = "only";
  config.tenants[0].lanes = {"vip"};
  tenancy alone(config, 0ns);
  CHECK(alone.enters_vip(static_cast<account_index>(0), std::nullopt, 0ns));
  CHECK_FALSE(alone.enters_vip(static_cast<account_index>(0), lane::async, 0ns));
}

TEST_CASE("above its rate a tenant is refused, or its requests run in the async lane") {
  tenancy tenants(two_tenants(), 0ns);
  const auto first = tenants.charge(gold, *tenants.enter(gold, lane::vip, 0ns), 1500, 0ns);
  REQUIRE(first);
  CHECK(first->charged == 1500);
  const auto refused = tenants.enter(gold, lane::vip, 0ns);
  REQUIRE_FALSE(refused);
  CHECK(refused.failure().code == errc::rate_limited);
  CHECK(refused.failure().message ==
        "tenant 'gold' is above its rate of 100 tokens/s; retry in 5001 ms");
  CHECK(tenants.wait(gold, 0ns) == 5001ms);
  CHECK(tenants.wait(account_index::stranger, 0ns) == 0ms);
  CHECK_FALSE(tenants.enter(gold, lane::realtime, 4999ms));
  CHECK(tenants.enter(gold, lane::vip, 5001ms));
  CHECK(tenants.wait(gold, 5001ms) == 0ms);
  tenants.settle(gold, *first, 400, 5001ms);
  tenants.settle(gold, *first, 2000, 5001ms);  // more than was charged gives nothing back

  const auto whole = tenants.charge(bulk, *tenants.enter(bulk, lane::vip, 0ns), 100, 0ns);
  REQUIRE(whole);
  CHECK(whole->service == lane::vip);
  const auto demoted = tenants.enter(bulk, lane::vip, 0ns);
  REQUIRE(demoted);
  CHECK(demoted->service == lane::async);
  CHECK(demoted->demoted);
  CHECK(tenants.charge(bulk, *demoted, 1000, 0ns)->charged == 0);
  const auto own = tenants.charge(bulk, *tenants.enter(bulk, lane::async, 0ns), 1000, 0ns);
  CHECK(own->charged == 0);
  CHECK_FALSE(own->demoted);
}

TEST_CASE("requests that came in together are charged one after another") {
  tenancy tenants(two_tenants(), 0ns);
  const auto a = tenants.enter(gold, lane::vip, 0ns), b = tenants.enter(gold, lane::vip, 0ns);
  REQUIRE((a && b));
  CHECK(tenants.charge(gold, *a, 1000, 0ns));
  CHECK(tenants.charge(gold, *b, 1, 0ns).failure().code == errc::rate_limited);
}

/// The rule in plain words: a charge comes in while burst, and what the rate has given since the
/// beginning, capped at the burst, exceed what was taken.
struct naive_allowance {
  double rate, burst, left;
  double at_s = 0.0;
  void pass_to(double now_s) {
    constexpr int slices = 64;  // capping is not affected by how the time is cut
    for (int i = 0; i < slices; ++i) left = std::min(burst, left + rate * (now_s - at_s) / slices);
    at_s = now_s;
  }
};

TEST_CASE("random requests against a naive model of the allowance") {
  const auto seed = GENERATE(range(0, 20));
  CAPTURE(seed);
  std::mt19937_64 dice(static_cast<std::uint64_t>(seed));
  const auto below = [&](std::uint64_t n) { return dice() % n; };
  server_config config = two_tenants();
  config.tenants[0].over_rate = below(2) == 0 ? "refuse" : "demote";
  const bool demotes = config.tenants[0].over_rate == "demote";
  tenancy tenants(config, 0ns);
  naive_allowance naive{100.0, 1000.0, 1000.0};
  std::vector<admission> open;
  std::chrono::nanoseconds now{};
  double taken = 0.0, largest = 0.0;
  for (int i = 0; i < 3000; ++i) {
    now += std::chrono::milliseconds{below(400)};
    naive.pass_to(std::chrono::duration<double>(now).count());
    if (!open.empty() && below(3) == 0) {
      const std::size_t place = below(open.size());
      const std::uint64_t used = below(open[place].charged + 1);
      tenants.settle(gold, open[place], used, now);
      const auto refund = static_cast<double>(open[place].charged - used);
      naive.left = std::min(naive.burst, naive.left + refund);
      taken -= refund;
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(place));
      continue;
    }
    if (std::abs(naive.left) < 1e-6) continue;  // rounding decides
    const bool is_open = naive.left > 0.0;
    const auto entered = tenants.enter(gold, lane::vip, now);
    if (!is_open && !demotes) {
      REQUIRE_FALSE(entered);
      REQUIRE(entered.failure().code == errc::rate_limited);
      continue;
    }
    REQUIRE(entered);
    REQUIRE(entered->demoted == !is_open);
    const std::uint64_t tokens = 1 + below(300);
    const auto charged = tenants.charge(gold, *entered, tokens, now);
    REQUIRE(charged);
    REQUIRE(charged->charged == (is_open ? tokens : 0));
    if (!is_open) continue;
    naive.left -= static_cast<double>(tokens);
    taken += static_cast<double>(tokens);
    largest = std::max(largest, static_cast<double>(tokens));
    open.push_back(*charged);
    REQUIRE(taken <= naive.burst + naive.rate * naive.at_s + largest);
  }
}

}  // namespace
}  // namespace troupe
