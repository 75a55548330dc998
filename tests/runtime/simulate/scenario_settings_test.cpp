// The settings of a way are the server's, by the server's rules; a VIP target bounds steps as on a
// server; keys that would do nothing where they stand are refused.
#include <catch2/catch.hpp>

#include "config/load.hpp"
#include "runtime/schedule/configured_limits.hpp"
#include "runtime/simulate/simulation.hpp"

using namespace troupe;
using namespace troupe::simulate;

namespace {

const std::string fitted = "hardware: {fitted: {step_ms: 2}, usd_per_hour: 1}";

/// A scenario of one way with these settings.
std::string with_engine(const std::string& keys, const std::string& rest = "") {
  return "ways:\n  - name: here\n    " + fitted + "\n    engine: {block_count: 500, " + keys +
         "}\n" + rest;
}

server_config server_of(const std::string& yaml) {
  return parse_scenario(yaml, "s.yaml").value().ways.at(0).engine.server;
}

std::string message_of(const std::string& yaml) {
  const auto made = parse_scenario(yaml, "s.yaml");
  INFO(yaml);
  REQUIRE(!made.has_value());
  return made.failure().message;
}

void check_refused(const std::string& yaml, const std::string& wanted) {
  const std::string message = message_of(yaml);
  INFO(yaml << "\n" << message);
  CHECK(message.find(wanted) != std::string::npos);
}

}  // namespace

TEST_CASE("a way's settings are read and checked as a server's", "[simulate][scenario]") {
  for (const std::string keys :
       {"block_size: 17", "block_size: 48", "step_ms_max: 0", "step_ms_max: 60001",
        "vip_step_ms_max: 101", "max_num_batched_tokens: 8", "max_num_seqs: 0", "batch_size: 0",
        "enable_chunked_prefill: maybe",
        "enable_chunked_prefill: false, max_num_batched_tokens: 512, max_model_len: 1000",
        "lanes: {vip: {reserved_fraction: 0.8}}", "lanes: {async: {max_delay_ms: 3600001}}",
        "lanes: {async: {compose_ms_max: 1001}}"}) {
    const auto by_server = parse_config("{" + keys + "}", "server.yaml");
    INFO(keys);
    REQUIRE(!by_server.has_value());
    // Behind the file and the line, which differ, and the path of the section.
    const std::string& message = by_server.failure().message;
    const std::size_t named = message.find("server.yaml");
    check_refused(with_engine(keys), named == 0 ? message.substr(message.find(": ") + 2) : message);
  }
  const auto server = server_of(with_engine(
      "max_num_batches: 3, batch_size: 5, max_tokens: 777, lanes: {async: {max_delay_ms: 9}}"));
  CHECK(configured_limits(server).composed_requests_max == 15);
  CHECK(server.max_num_batched_tokens == 777);
  CHECK(server.lanes[async_lane].max_delay_ms == 9);
  check_refused(with_engine("max_tokens: 700, max_num_batched_tokens: 700"), "the same key");
  check_refused(with_engine("max_model_len: 0"), "max_model_len must be above 0");
}

TEST_CASE("the VIP target of the load bounds steps as on a server", "[simulate][scenario]") {
  const auto vip_step_ms = [](const std::string& lanes, const std::string& keys) {
    return configured_limits(server_of("lanes: {" + lanes + "}\n" + with_engine(keys)))
        .vip_step_ms_max;
  };
  const std::string plain = "max_num_seqs: 64";
  CHECK(vip_step_ms("", plain) == 25);
  CHECK(vip_step_ms("vip: {tpot_ms: 80}", plain) == 50);
  CHECK(vip_step_ms("vip: {tpot_ms: 0}", plain) == 100);
  CHECK(vip_step_ms("vip: {tpot_ms: 80}", "vip_step_ms_max: 30") == 30);
  const auto what =
      parse_scenario("lanes: {vip: {tpot_ms: 0, ttft_ms: 150}}\n" + with_engine(plain), "s.yaml")
          .value();
  CHECK_FALSE(what.targets[vip_lane].tpot_ms.has_value());
  CHECK(what.targets[vip_lane].ttft_ms.value() == 150.0);
  check_refused("lanes: {vip: {tpot_ms: 2.5}}\n" + with_engine(plain),
                "lanes.vip.tpot_ms must be an integer");
  check_refused(with_engine("lanes: {vip: {tpot_ms: 40}}"),
                "ways[0].engine.lanes.vip.tpot_ms does nothing here: the scenario's own lanes");
}

TEST_CASE("keys that would do nothing are refused where they stand", "[simulate][scenario]") {
  const std::string plain = with_engine("max_num_seqs: 8");
  const auto old_way = [](const std::string& keys) {
    return "ways:\n  - name: old\n    policy: static\n    " + fitted + "\n    " + keys + "\n";
  };
  check_refused(with_engine("kv_offload_gib: 1"), "kv_offload_gib does nothing here");
  check_refused(with_engine("max_num_seqs: 8") + "    batches: {size: 4}\n",
                "ways[0].batches does nothing here: they are of policy static");
  check_refused(old_way("engine: {max_num_seqs: 4}"), "ways[0].engine.max_num_seqs does nothing");
  check_refused(old_way("engine: {lanes: {}}"), "ways[0].engine.lanes does nothing");
  check_refused(old_way("engine: {compose_replays_max: 1}"), "compose_replays_max does nothing");
  check_refused(old_way("one_lane: vip"), "ways[0].one_lane does nothing");
  check_refused(old_way("asked_tokens: 9"), "ways[0].asked_tokens does nothing");
  check_refused(old_way("weights: fp8"), "a fitted cost was measured as it is");
  CHECK(parse_scenario(old_way("engine: {block_count: 9, block_size: 32}"), "s.yaml").has_value());
  check_refused(
      "ways:\n  - name: old\n    policy: static\n    hardware: {fitted: {step_ms: 2, "
      "noise: 0.1}, usd_per_hour: 1}\n",
      "fitted.noise does nothing here");
  check_refused(
      "ways:\n  - name: a\n    hardware: {cards: 2, fitted: {step_ms: 2}, usd_per_hour: "
      "1}\n",
      "hardware.cards does nothing here");
  check_refused(plain + "  - name: here\n    " + fitted + "\n", "a way before it is called here");
  check_refused("arrivals: {turnaround_ms: 5}\n" + plain, "set concurrency_max");
  CHECK(parse_scenario("arrivals: {turnaround_ms: 5, concurrency_max: 2}\n" + plain, "s.yaml")
            .has_value());
  check_refused("lengths: {file: a.csv}\n" + plain, "lengths.file does nothing here");
  check_refused("lengths: {source: trace, prompt: {mean_tokens: 5}}\n" + plain,
                "lengths.prompt does nothing here: lengths are the file's");
  check_refused("lengths: {output: {sigma: 1}}\n" + plain, "sigma is for the kind lognormal");
  check_refused("lengths: {source: trace}\nprefixes: {groups: 2, tokens: 8}\n" + plain,
                "prompts of a trace have none");
  check_refused("prefixes: {groups: 2}\n" + plain, "prefixes need tokens");
  check_refused(
      "lengths: {prompt: {max_tokens: 128}}\nprefixes: {groups: 2, tokens: 128}\n" + plain,
      "prefixes.tokens (128) must be below lengths.prompt.max_tokens (128)");
}
