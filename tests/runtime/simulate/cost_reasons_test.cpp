// The reasons in scenarios/cost_1m.yaml name figures of changed loads and machines: those changes
// are made here, and the figures are what the reasons say.
#include <fstream>
#include <iterator>

#include <catch2/catch.hpp>

#include "runtime/simulate/simulation.hpp"

using namespace troupe;
using namespace troupe::simulate;

namespace {

constexpr double tolerance = 0.02;

scenario cost_scenario(const std::string& way_name) {
  const std::string file = std::string(TROUPE_SOURCE_DIR) + "/scenarios/cost_1m.yaml";
  std::ifstream stream(file);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  auto what = parse_scenario(text, file).value();
  std::erase_if(what.ways, [&](const way& each) { return each.name != way_name; });
  what.load.request_count = 6000;
  return what;
}

run_figures run(const scenario& what) {
  return simulate::simulate(what, {}, [](const std::string&) {}).value().ways.at(0).figures;
}

/// Prompts of 384 tokens that share 353.
scenario with_hits(scenario what) {
  what.load.prompt = {.kind = length_kind::fixed, .mean_tokens = 384};
  what.load.prefixes = {.groups = 16, .share = 1.0, .tokens = 353};
  return what;
}

scenario with_acceptance(scenario what, double acceptance) {
  what.ways[0].speculative.acceptance = acceptance;
  return what;
}

scenario at_the_peak(scenario what) {
  what.ways[0].compute_efficiency = what.ways[0].memory_efficiency = 1.0;
  return what;
}

}  // namespace

TEST_CASE("what equal lengths and peaks make of static batches", "[simulate][cost]") {
  auto what = cost_scenario("static");
  what.load.prompt = {.kind = length_kind::fixed, .mean_tokens = 384};
  what.load.output = {.kind = length_kind::fixed, .mean_tokens = 128};
  CHECK(run(what).all.e2e.mean == Approx(2230).epsilon(tolerance));
  what.ways[0].batches.cold_start_ms = 0.0;
  CHECK(run(at_the_peak(what)).all.e2e.mean == Approx(1430).epsilon(tolerance));
}

TEST_CASE("what pads 35 % of the rows", "[simulate][cost]") {
  auto threes = cost_scenario("static");
  threes.ways[0].batches.size = 3;
  CHECK(run(threes).padding == Approx(0.35).margin(0.015));
  auto alike = cost_scenario("static");
  alike.load.prompt.sigma = alike.load.output.sigma = 0.17;
  CHECK(run(alike).padding == Approx(0.35).margin(0.015));
}

TEST_CASE("what the prefix cache, the draft and the kernels make of it", "[simulate][cost]") {
  const auto hits = with_hits(cost_scenario("optimized"));
  const auto figures = run(hits);
  CHECK(figures.prefix_hit == Approx(0.92).margin(0.01));
  CHECK(figures.requests_per_s == Approx(128).epsilon(tolerance));
  CHECK(figures.all.e2e.mean == Approx(769).epsilon(tolerance));
  CHECK(run(with_acceptance(hits, 0.9)).requests_per_s == Approx(181).epsilon(tolerance));
  CHECK(run(at_the_peak(hits)).requests_per_s == Approx(200).epsilon(tolerance));
  CHECK(run(at_the_peak(with_acceptance(hits, 0.9))).requests_per_s ==
        Approx(282).epsilon(tolerance));
  const auto extreme = run(with_hits(cost_scenario("extreme")));
  CHECK(extreme.requests_per_s == Approx(219).epsilon(tolerance));
  CHECK(extreme.all.e2e.mean == Approx(449).epsilon(tolerance));
}
