// The list of tenants: it loads, its mistakes are refused with line and place, and no key or name
// stands for two of them.
#include <catch2/catch.hpp>

#include "config/limits.hpp"
#include "config/load.hpp"

using namespace troupe;

namespace {

std::string problem(std::string_view yaml) {
  const auto loaded = parse_config(yaml, "test.yaml");
  return loaded ? "loaded" : loaded.failure().message;
}

}  // namespace

TEST_CASE("a list of tenants loads, with defaults for what it leaves out") {
  const auto config = parse_config(
      "tenants:\n"
      "  - name: trading\n"
      "    api_keys: [a1, a2]\n"
      "    zmq_identities: ['trading-*', exact]\n"
      "    lanes: [vip]\n"
      "    tokens_per_second: 1500.5\n"
      "    burst_tokens: 4000\n"
      "    share: 2\n"
      "    over_rate: demote\n"
      "  - {name: reports, api_keys: b}\n"
      "threads: 3\n",
      "test.yaml");
  REQUIRE(config);
  REQUIRE(config->tenants.size() == 2);
  const tenant_config& trading = config->tenants[0];
  CHECK(trading.name == "trading");
  CHECK(trading.api_keys == std::vector<std::string>{"a1", "a2"});
  CHECK(trading.zmq_identities == std::vector<std::string>{"trading-*", "exact"});
  CHECK(trading.lanes == std::vector<std::string>{"vip"});
  CHECK(trading.tokens_per_second == 1500.5);
  CHECK(trading.burst_tokens == 4000);
  CHECK(trading.share == 2.0);
  CHECK(trading.over_rate == "demote");
  const tenant_config& reports = config->tenants[1];
  CHECK(reports.api_keys == std::vector<std::string>{"b"});
  CHECK(reports.lanes == std::vector<std::string>{"realtime", "async"});
  CHECK(reports.tokens_per_second == 0.0);
  CHECK(reports.over_rate == "refuse");
  CHECK(config->threads == 3);
  CHECK(config->idle_keys.empty());
}

TEST_CASE("an empty list of tenants is none") {
  for (const auto* yaml : {"tenants:\n", "tenants: []\n"}) {
    INFO(yaml);
    REQUIRE(problem(yaml) == "loaded");
    CHECK(parse_config(yaml, "")->tenants.empty());
  }
}

TEST_CASE("what is wrong in a list of tenants is refused with line and place") {
  CHECK(problem("tenants:\n  - name: a\n  - name: b\n    burst_token: 5\n") ==
        "test.yaml:4: unknown key \"tenants[1].burst_token\"; did you mean "
        "\"tenants[1].burst_tokens\"?");
  CHECK(problem("tenants:\n  - {name: a, zebra: 5}\n") ==
        "test.yaml:2: unknown key \"tenants[0].zebra\"");
  CHECK(problem("tenant:\n  - {name: a}\n") ==
        "test.yaml:1: unknown key \"tenant\"; did you mean \"tenants\"?");
  CHECK(problem("tenants:\n  - name: a\n    share: 0\n") ==
        "test.yaml:3: tenants[0].share must be a number from 0.001 to 1000, not \"0\"");
  CHECK(problem("tenants:\n  - {name: a, burst_tokens: 1.5}\n") ==
        "test.yaml:2: tenants[0].burst_tokens must be an integer from 0 to 1073741824 tokens, not "
        "\"1.5\"");
  CHECK(problem("tenants:\n  - {name: a, lanes: [vip, gold]}\n") ==
        "test.yaml:2: tenants[0].lanes must be a list of vip, realtime, async, not \"gold\"");
  CHECK(problem("tenants:\n  - {name: a, over_rate: drop}\n") ==
        "test.yaml:2: tenants[0].over_rate must be one of refuse, demote, not \"drop\"");
  CHECK(problem("tenants:\n  - {name: [a, b]}\n") ==
        "test.yaml:2: tenants[0].name takes one value, not a list");
  CHECK(problem("tenants:\n  - {name: {x: 1}}\n") == "test.yaml:2: tenants[0].name is no section");
  CHECK(problem("tenants:\n  - {share: 1}\n") == "test.yaml:2: tenants[0] has no name");
  CHECK(problem("tenants: {name: a}\n") ==
        "test.yaml:1: tenants must be a list of maps, one a tenant");
  CHECK(problem("tenants: [a]\n") == "test.yaml:1: tenants[0] must be a map of keys");
  CHECK(problem("tenants:\n  - name: a\n    name: b\n") ==
        "test.yaml:3: tenants[0].name is already set in line 2");
  CHECK(problem("tenants: []\ntenants: []\n") == "test.yaml:2: tenants is already set in line 1");
}

TEST_CASE("names, keys and identities stand for one tenant each") {
  CHECK_THAT(problem("tenants: [{name: a, api_keys: [k]}, {name: a, api_keys: [l]}]"),
             Catch::Contains("is taken"));
  for (const auto* name : {"local", "embedded"})
    CHECK_THAT(problem("tenants: [{name: " + std::string(name) + "}]"),
               Catch::Contains("is taken"));
  for (const auto* name : {"key-0", "'a b'", "'a/b'"})
    CHECK_THAT(problem("tenants: [{name: " + std::string(name) + "}]"),
               Catch::Contains("must be 1 to 64 letters"));
  CHECK_THAT(problem("tenants: [{name: a, api_keys: [k]}, {name: b, api_keys: [k]}]"),
             Catch::Contains("tenant \"b\": api_keys names something that is given to another"));
  CHECK_THAT(problem("api_key: k\ntenants: [{name: a, api_keys: [k]}]"),
             Catch::Contains("given to another"));
  CHECK_THAT(problem("tenants: [{name: a, zmq_identities: [i]}, {name: b, zmq_identities: [i]}]"),
             Catch::Contains("tenant \"b\": zmq_identities"));
  CHECK_THAT(problem("tenants: [{name: a, api_keys: ['']}]"), Catch::Contains("api_keys takes"));
  CHECK_THAT(problem("tenants: [{name: a, zmq_identities: ['" + std::string(256, 'x') + "']}]"),
             Catch::Contains("zmq_identities takes"));
  CHECK_THAT(problem("tenants: [{name: a, api_keys: [k], lanes: []}]"),
             Catch::Contains("lanes is empty"));
  CHECK_THAT(problem("tenants: [{name: a, api_keys: [k], burst_tokens: 5}]"),
             Catch::Contains("means nothing without tokens_per_second"));
  CHECK_THAT(problem("tenants: [{name: a, api_keys: [k], over_rate: demote}]"),
             Catch::Contains("over_rate: demote means nothing without tokens_per_second"));
}

TEST_CASE("a tenant that nobody could be, or that limits nothing, is refused") {
  CHECK_THAT(problem("tenants: [{name: a, tokens_per_second: 5}]"),
             Catch::Contains("tenant \"a\": nobody could be it: it needs api_keys or"));
  CHECK(problem("tenants: [{name: a, zmq_identities: [i]}]") == "loaded");
  const std::string demoted =
      "tenants: [{name: a, api_keys: [k], tokens_per_second: 5, over_rate: demote, lanes: ";
  CHECK_THAT(problem(demoted + "[async]}]"), Catch::Contains("would limit nothing"));
  CHECK(problem(demoted + "[realtime, async]}]") == "loaded");
  CHECK(problem(demoted + "[vip]}]") == "loaded");
}

TEST_CASE("a star in an identity stands at its end") {
  CHECK_THAT(problem("tenants: [{name: a, zmq_identities: ['x*y']}]"),
             Catch::Contains("has \"x*y\", but '*' stands for anything only at the end"));
  CHECK_THAT(problem("tenants: [{name: a, zmq_identities: ['x**']}]"),
             Catch::Contains("only at the end"));
  CHECK(problem("tenants: [{name: a, zmq_identities: ['*']}]") == "loaded");
}

TEST_CASE("the numbers of tenants and of their keys are bounded") {
  std::string many = "tenants:\n";
  for (std::size_t i = 0; i <= limits::tenant_count_max; ++i)
    many += "  - {name: t" + std::to_string(i) + "}\n";
  CHECK_THAT(problem(many), Catch::Contains("has more than 1024 entries"));
  std::string keys = "tenants:\n  - name: a\n    api_keys: [";
  for (std::size_t i = 0; i <= limits::tenant_key_count_max; ++i)
    keys += "k" + std::to_string(i) + ", ";
  CHECK_THAT(problem(keys + "]\n"), Catch::Contains("api_keys has more than 256 entries"));
}

TEST_CASE("a tenant's key opens HTTP beyond this machine") {
  CHECK_THAT(problem("http: 0.0.0.0:80\ntenants: [{name: a}]"), Catch::Contains("api_keys"));
  CHECK(problem("http: 0.0.0.0:80\ntenants: [{name: a, api_keys: [k]}]") == "loaded");
}
