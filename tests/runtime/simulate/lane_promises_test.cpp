// What the lanes promise, with the scheduler that serves on virtual time and the scenarios that are
// shipped for it, on fewer requests: deadlines that were taken are met, nobody starves, realtime is
// not held where there is room, and lanes cost little throughput.
#include <array>
#include <fstream>
#include <iterator>

#include <catch2/catch.hpp>

#include "config/limits.hpp"
#include "runtime/simulate/simulation.hpp"

using namespace troupe;
using namespace troupe::simulate;

namespace {

scenario shipped(const std::string& name, std::uint32_t requests) {
  const std::string file = std::string(TROUPE_SOURCE_DIR) + "/scenarios/" + name + ".yaml";
  std::ifstream stream(file);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  auto what = parse_scenario(text, file).value();
  what.load.request_count = requests;
  return what;
}

simulation_report run(const scenario& what) {
  return simulate::simulate(what, {}, [](const std::string&) {}).value();
}

const lane_figures& lane_of(const way_report& made, lane service) {
  return made.figures.lanes[to_index(service)];
}

}  // namespace

TEST_CASE("deadlines that were taken are met at nine tenths of the load", "[simulate][lanes]") {
  const auto what = shipped("lanes_deadlines", 6000);
  for (const way_report& made : run(what).ways) {
    const lane_figures& async = lane_of(made, lane::async);
    INFO(async.deadlines_met << " met, " << async.deadlines_refused << " refused, "
                             << async.deadlines_missed << " missed");
    CHECK(async.count() == async.deadlines_met + async.deadlines_refused + async.deadlines_missed);
    // All but two in a thousand: the estimate of a long answer knows nothing of the prompts to
    // come.
    CHECK(async.deadlines_missed * 500 <= async.count());
    CHECK(lane_of(made, lane::vip).all_kept.value() > 0.99);
    CHECK(lane_of(made, lane::realtime).held_ms_max == 0.0);
  }
}

TEST_CASE("what cannot be done at twice the load is refused, what was taken is mostly done in time",
          "[simulate][lanes]") {
  const auto report = run(shipped("lanes_deadlines_overload", 8000));
  // Where it is known how long answers will be, and where that is guessed.
  const std::array<double, 2> missed_share_max{0.06, 0.35};
  for (std::size_t i = 0; i < missed_share_max.size(); ++i) {
    const lane_figures& async = lane_of(report.ways[i], lane::async);
    INFO(async.deadlines_met << " met, " << async.deadlines_refused << " refused, "
                             << async.deadlines_missed << " missed");
    const auto taken = static_cast<double>(async.deadlines_met + async.deadlines_missed);
    CHECK(static_cast<double>(async.deadlines_missed) <= missed_share_max[i] * taken);
    CHECK(async.deadlines_met >= 200);
    CHECK(lane_of(report.ways[i], lane::vip).all_kept.value() > 0.99);
  }
}

TEST_CASE("the oldest async request waits for a bounded number of admissions",
          "[simulate][lanes]") {
  auto what = shipped("lanes_overload", 12'000);
  const bool is_composed = GENERATE(true, false);
  CAPTURE(is_composed);
  if (!is_composed) what.ways.erase(what.ways.begin());
  what.ways.resize(1);
  REQUIRE((what.ways[0].engine.server.lanes[async_lane].compose_ms_max != 0) == is_composed);
  const auto report = run(what);
  const way_report& lanes = report.ways[0];
  const lane_figures& async = lane_of(lanes, lane::async);
  // One of so many admissions is async's; each of its preemptions takes one more.
  const double admissions_between = limits::aged_start_stride + 1.0;
  const double ahead = what.ways[0].engine.server.lanes[async_lane].max_queued +
                       static_cast<double>(lanes.figures.preemptions);
  const double bound_ms = ahead * admissions_between / lanes.figures.requests_per_s * 1e3;
  INFO("oldest wait " << async.oldest_wait_ms << " ms, bound " << bound_ms << " ms");
  CHECK(async.oldest_wait_ms < bound_ms);
  if (!is_composed) CHECK(async.overtaken_by_ms_max == 0.0);
  CHECK(lane_of(lanes, lane::vip).all_kept.value() > 0.99);
  CHECK(lane_of(lanes, lane::realtime).held_ms_max <=
        what.ways[0].engine.server.lanes[realtime_lane].max_wait_ms);
}

TEST_CASE("an idle engine holds nobody", "[simulate][lanes]") {
  auto what = shipped("lanes_deadlines", 500);
  what.ways.resize(1);
  what.load.arrivals.rate_per_s = 0.2;
  const auto report = run(what);
  const lane_figures& realtime = lane_of(report.ways[0], lane::realtime);
  CHECK(realtime.held_ms_max == 0.0);
  CHECK(realtime.wait.p50 == 0.0);
  // Nobody is overtaken by who came later than max_wait_ms after it, at any load.
  CHECK(realtime.overtaken_by_ms_max <=
        what.ways[0].engine.server.lanes[realtime_lane].max_wait_ms);
}

TEST_CASE("lanes cost little throughput at saturation", "[simulate][lanes]") {
  const auto [name, share_max] =
      GENERATE(table<const char*, double>({{"lanes_price", 0.03}, {"lanes_price_vip", 0.10}}));
  const auto what = shipped(name, 4000);
  const auto report = run(what);
  const double fifo = report.ways[0].figures.requests_per_s;
  for (std::size_t i = 1; i < report.ways.size(); ++i) {
    INFO(name << ", " << what.ways[i].name << ": " << report.ways[i].figures.requests_per_s
              << " of " << fifo << " requests a second");
    CHECK(report.ways[i].figures.requests_per_s >= (1.0 - share_max) * fifo);
  }
}
