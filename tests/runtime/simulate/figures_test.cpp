// Figures of hand-made outcomes: whose targets count, what has no TPOT, and what published figures
// imply once the prefix cache and padding are counted.
#include "runtime/simulate/figures.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "runtime/simulate/report.hpp"

using namespace troupe;
using namespace troupe::simulate;

namespace {

using namespace std::chrono_literals;

/// Answers of five tokens, the first after `first`, the last after `last`.
struct served_request {
  lane service;
  monotonic_time first, last;
};

run_figures figures_of(const std::vector<served_request>& served,
                       const std::array<lane_targets, lane_count>& targets, bool is_streamed) {
  std::vector<virtual_request> requests;
  virtual_result made;
  made.is_streamed = is_streamed;
  for (const served_request& each : served) {
    requests.push_back({.output_tokens = 5, .service = each.service});
    made.outcomes.push_back({.submitted = 0ms,
                             .started = 0ms,
                             .first_token = each.first,
                             .finished = each.last,
                             .end = virtual_end::completed});
  }
  return summarize(requests, made, targets, 1.0);
}

const std::string two_ways = R"(
requests: 60
lengths: {prompt: {mean_tokens: 50}, output: {mean_tokens: 10}}
lanes:
  vip: {share: 0.5, ttft_ms: 100000, tpot_ms: 40}
  async: {share: 0.5}
ways:
  - name: here
    hardware: {fitted: {step_ms: 2, row_ms: 0.1}, usd_per_hour: 3.6}
    engine: {block_count: 500, max_model_len: 1000}
    published: {requests_per_s: {value: 10, why: a}}
  - name: old
    policy: static
    hardware: {fitted: {step_ms: 2, row_ms: 0.1}, usd_per_hour: 3.6}
    engine: {block_count: 500}
    batches: {size: 4, reserved_tokens: 1000}
    published: {requests_per_s: {value: 10, why: b}}
published:
  - {way: here, figure: prefix_hit, percent: 92, why: c}
  - {way: old, figure: padding, percent: 50, why: d}
)";

}  // namespace

TEST_CASE("the total counts requests of lanes that have a target", "[simulate][figures]") {
  std::array<lane_targets, lane_count> targets;
  targets[to_index(lane::vip)].ttft_ms = 100.0;
  targets[to_index(lane::realtime)].e2e_ms = 400.0;
  const auto figures = figures_of({{lane::vip, 50ms, 90ms},
                                   {lane::vip, 150ms, 190ms},
                                   {lane::realtime, 200ms, 300ms},
                                   {lane::async, 900ms, 999ms},
                                   {lane::async, 900ms, 999ms}},
                                  targets, true);
  CHECK(figures.lanes[to_index(lane::vip)].all_kept.value() == Approx(0.5));
  CHECK(figures.lanes[to_index(lane::realtime)].all_kept.value() == Approx(1.0));
  CHECK_FALSE(figures.lanes[to_index(lane::async)].all_kept.has_value());
  CHECK(figures.all.ttft_kept.value() == Approx(0.5));
  CHECK(figures.all.e2e_kept.value() == Approx(1.0));
  CHECK_FALSE(figures.all.tpot_kept.has_value());
  CHECK(figures.all.all_kept.value() == Approx(2.0 / 3.0));
}

TEST_CASE("replies that come whole have no TPOT, and keep no bound of it", "[simulate][figures]") {
  std::array<lane_targets, lane_count> targets;
  targets[to_index(lane::vip)].tpot_ms = 50.0;
  const std::vector<served_request> served{{lane::vip, 100ms, 300ms}, {lane::vip, 100ms, 400ms}};
  const auto streamed = figures_of(served, targets, true);
  CHECK(streamed.all.tpot.mean == Approx(62.5));
  CHECK(streamed.all.tpot_kept.value() == Approx(0.5));
  const auto whole = figures_of(served, targets, false);
  CHECK(whole.all.tpot.is_empty());
  CHECK_FALSE(whole.all.tpot_kept.has_value());
  CHECK_FALSE(whole.all.all_kept.has_value());
  targets[to_index(lane::vip)].e2e_ms = 350.0;
  CHECK(figures_of(served, targets, false).all.all_kept.value() == Approx(0.5));
}

TEST_CASE("reports say where there is no TPOT, and count what is computed", "[simulate][figures]") {
  const auto what = parse_scenario(two_ways, "s.yaml").value();
  const auto report = simulate::simulate(what, {}, [](const std::string&) {}).value();
  const auto json = nlohmann::json::parse(report_json(what, report));
  CHECK(json["ways"][0]["all"]["tpot_ms"]["mean"].is_number());
  CHECK(json["ways"][0]["lanes"]["vip"]["attainment"]["tpot"].is_number());
  CHECK(json["ways"][1]["all"]["tpot_ms"]["mean"].is_null());
  CHECK(json["ways"][1]["lanes"]["vip"]["attainment"]["tpot"].is_null());
  CHECK(json["ways"][1]["lanes"]["vip"]["attainment"]["ttft"].is_number());
  const std::string table = report_table(what, report);
  const std::size_t line = table.find("TPOT mean (ms)");
  CHECK(table.substr(line, table.find('\n', line) - line).ends_with(" -"));
  CHECK(report_html(what, report).find("<td>-</td>") != std::string::npos);

  const auto implied = implied_rows(what, report);
  REQUIRE(implied.size() == 4);
  CHECK(implied[0].tokens_per_s.value() == Approx(10.0 * 60));
  CHECK(implied[0].computed_tokens_per_s.value() == Approx(10.0 * (0.08 * 50 + 10)));
  CHECK(implied[2].computed_tokens_per_s.value() == Approx(10.0 * 60 / 0.5));
  // Equal lengths: no padding of ours, and batches have no prefix cache.
  CHECK(implied[3].computed_tokens_per_s.value() == Approx(implied[3].tokens_per_s.value()));
}
