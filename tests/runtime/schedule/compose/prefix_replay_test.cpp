// Replays that begin where an order departs from the base say to the bit what whole replays say,
// whatever came before: random bases and orders near them, other bounds, all samples.
#include "runtime/schedule/compose/prefix_replay.hpp"

#include <algorithm>
#include <numeric>

#include <catch2/catch.hpp>

#include "bench/compose/batch_cases.hpp"
#include "runtime/schedule/compose/search_random.hpp"

using namespace troupe;
using namespace troupe::bench;

namespace {

using requests = std::vector<std::uint32_t>;

void swap_some(requests& order, search_random& random) {
  const auto count = static_cast<std::uint32_t>(order.size());
  for (std::uint32_t left = 1 + random.below(3); left != 0; --left)
    std::swap(order[random.below(count)], order[random.below(count)]);
}

/// As a running one: so many of its prompt's tokens are computed, or all and one is drawn.
async_running running_of(const async_waiting& of, bool decodes) {
  async_running made;
  made.prompt = of.prompt;
  made.max_tokens = of.max_tokens + 1;
  made.output_tokens = decodes ? 1 : 0;
  made.missing_tokens = decodes ? 0 : 1;
  return made;
}

}  // namespace

TEST_CASE("a replay from the middle is the whole replay", "[compose]") {
  const batch_workload workload = GENERATE(from_range(all_batch_workloads));
  const std::uint32_t size = GENERATE(7u, 24u, 150u);
  CAPTURE(to_string(workload), size);
  batch_case made = make_batch_case(workload, size, 3);
  for (const bool decodes : {true, false}) {
    made.view.running.push_back(running_of(made.view.waiting.back(), decodes));
    made.view.waiting.pop_back();
  }
  const batch_problem problem(made.view, {}, 3);
  batch_replay whole(problem);
  prefix_replay from_middle(problem);
  search_random random(size, search_random::stream::search);
  requests base(problem.waiting_count);
  std::iota(base.begin(), base.end(), 0u);
  std::uint32_t running_max = problem.limits.sequences_max;
  for (int i = 0; i < 300; ++i) {
    requests order = base;
    if (random.below(8) != 0) swap_some(order, random);
    std::uint32_t bound = running_max;
    if (random.below(8) == 0)
      bound = problem.width_max + random.below(problem.limits.sequences_max);
    const std::uint32_t sample = random.below(compose_sample_count);
    const replay_outcome expected = whole.run(order, bound, sample);
    const replay_outcome found = from_middle.run(order, bound, sample);
    REQUIRE(found.objective_ms == expected.objective_ms);
    REQUIRE(found.makespan_ms == expected.makespan_ms);
    REQUIRE(found.recomputed_rows == expected.recomputed_rows);
    REQUIRE(found.preemptions == expected.preemptions);
    REQUIRE(std::ranges::equal(from_middle.lateness_ms(), whole.lateness_ms()));
    if (random.below(4) != 0) continue;
    base = order;
    running_max = bound;
    from_middle.set_base(base, running_max);
  }
}
