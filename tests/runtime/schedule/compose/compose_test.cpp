// Plans: complete, never predicted worse than a seed, the same for the same seed, near the optimum
// of all orders where that can be found, by priority, and whole when the budget ends at once.
#include "runtime/schedule/compose/compose.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include <catch2/catch.hpp>

#include "bench/compose/batch_cases.hpp"
#include "bench/compose/oracles.hpp"
#include "runtime/schedule/compose/genetic_search.hpp"

using namespace troupe;
using namespace troupe::bench;

namespace {

bool is_complete(const async_plan& plan, const async_batch_view& view) {
  std::set<request_id> ids;
  for (const async_waiting& each : view.waiting) ids.insert(each.id);
  return plan.order.size() == ids.size() &&
         std::set<request_id>(plan.order.begin(), plan.order.end()) == ids;
}

}  // namespace

TEST_CASE("a plan is complete and never predicted worse than its seeds", "[compose]") {
  const batch_workload workload = GENERATE(from_range(all_batch_workloads));
  const std::uint32_t size = GENERATE(1u, 2u, 30u, 100u);
  const std::uint64_t budget = GENERATE(0u, 60u, 800u);
  CAPTURE(to_string(workload), size, budget);
  const batch_case made = make_batch_case(workload, size, size);
  const async_plan plan =
      compose_batches(made.view, {.seed = 7, .objective = {}}, replay_budget(budget));
  CHECK(is_complete(plan, made.view));
  CHECK(plan.running_max >= 1);
  CHECK((plan.running_max == UINT32_MAX || plan.running_max < made.view.limits.sequences_max));
  CHECK(plan.objective_ms <= *std::ranges::min_element(plan.seed_objective_ms));
  CHECK(plan.improvement_ratio() >= 0.0);
}

TEST_CASE("the same seed makes the same plan, another one another", "[compose]") {
  const batch_case made = make_batch_case(batch_workload::prefix_deadlines, 48, 2);
  const auto plan = [&](std::uint64_t seed) {
    return compose_batches(made.view, {.seed = seed, .objective = {}}, replay_budget(1500));
  };
  const async_plan first = plan(5);
  CHECK(plan(5).order == first.order);
  CHECK(plan(5).objective_ms == first.objective_ms);
  CHECK(plan(6).order != first.order);
}

TEST_CASE("what a plan promises is predicted on all samples, however few replays there were",
          "[compose]") {
  const std::uint32_t size = GENERATE(60u, 300u);
  const std::uint64_t budget = GENERATE(50u, 150u, 600u, 2500u);
  CAPTURE(size, budget);
  const batch_case made = make_batch_case(batch_workload::prefix_deadlines, size, 8);
  const async_plan plan =
      compose_batches(made.view, {.seed = 3, .objective = {}}, replay_budget(budget));
  const batch_problem problem(made.view, {}, 3);
  order_candidate planned{{}, plan.running_max, {}, {}};
  for (const request_id id : plan.order) planned.order.push_back(static_cast<std::uint32_t>(id));
  order_prediction prediction(problem, no_end);
  prediction.predict(planned);
  CHECK(planned.objective_ms() == Approx(plan.objective_ms).epsilon(1e-12));
  CHECK(plan.objective_ms <= *std::ranges::min_element(plan.seed_objective_ms));
}

TEST_CASE("of one request there is only a bound to choose", "[compose]") {
  const batch_case made = make_batch_case(batch_workload::plain, 1, 1);
  const async_plan plan = compose_batches(made.view, {}, replay_budget(500));
  CHECK(is_complete(plan, made.view));
}

TEST_CASE("nothing waits: nothing to plan", "[compose]") {
  async_batch_view view;
  view.limits.sequences_max = 9;
  const async_plan plan = compose_batches(view, {}, replay_budget(100));
  CHECK(plan.order.empty());
  CHECK(plan.running_max == UINT32_MAX);
  CHECK(plan.improvement_ratio() == 0.0);
}

TEST_CASE("requests beyond the bound follow in their order", "[compose]") {
  batch_case made = make_batch_case(batch_workload::plain, 520, 1);
  const async_plan plan = compose_batches(made.view, {}, replay_budget(0));
  CHECK(is_complete(plan, made.view));
  for (std::uint32_t i = 512; i < 520; ++i) CHECK(plan.order[i] == static_cast<request_id>(i));
}

TEST_CASE("more important requests go first whatever it costs", "[compose]") {
  batch_case made = make_batch_case(batch_workload::mixed_deadlines, 40, 4);
  for (std::size_t i = 0; i < 40; ++i) made.view.waiting[i].priority = static_cast<int>(i % 3);
  const async_plan plan = compose_batches(made.view, {}, replay_budget(2000));
  CHECK(is_complete(plan, made.view));
  CHECK(std::ranges::is_sorted(plan.order, {}, [&](request_id id) {
    return made.view.waiting[static_cast<std::size_t>(id)].priority;
  }));
}

TEST_CASE("the plan before is a seed", "[compose]") {
  batch_case made = make_batch_case(batch_workload::prefix_deadlines, 60, 6);
  const async_plan long_search = compose_batches(made.view, {}, replay_budget(5000));
  made.view.previous_order = long_search.order;
  made.view.previous_order.push_back(static_cast<request_id>(9999));  // has left
  const async_plan next = compose_batches(made.view, {}, replay_budget(0));
  CHECK(next.objective_ms <= *std::ranges::min_element(next.seed_objective_ms));
  CHECK(next.objective_ms < 0.9 * next.seed_objective_ms[0]);
}

TEST_CASE("plans of few requests are within 2 % of the best of all orders", "[compose]") {
  double gap_sum = 0.0;
  constexpr std::uint32_t cases = 24;
  for (std::uint32_t i = 0; i < cases; ++i) {
    const batch_workload workload = all_batch_workloads[i % all_batch_workloads.size()];
    const batch_case made = make_batch_case(workload, 3 + i % 4, i);
    const batch_problem problem(made.view, {}, i);
    const double best_ms = search_all(problem).objective_ms();
    const compose_budget budget = replay_budget(2000);
    order_prediction prediction(problem, budget);
    const order_candidate found =
        improve_by_genetic_search(problem, prediction, prediction.predict_seeds(), i);
    CHECK(found.objective_ms() >= best_ms * (1.0 - 1e-12));
    gap_sum += found.objective_ms() / best_ms - 1.0;
  }
  CHECK(gap_sum / cases < 0.02);
}

TEST_CASE("plans are worth in virtual time what they promise", "[compose]") {
  double plan_ms = 0.0, fifo_ms = 0.0, promised_ms = 0.0;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const batch_case made = make_batch_case(batch_workload::prefix_pool, 96, seed);
    const async_plan plan =
        compose_batches(made.view, {.seed = seed, .objective = {}}, replay_budget(1000));
    std::vector<request_id> fifo;
    for (const async_waiting& each : made.view.waiting) fifo.push_back(each.id);
    plan_ms += realize(made, plan.order, plan.running_max, {}).objective_ms;
    fifo_ms += realize(made, fifo, made.view.limits.sequences_max, {}).objective_ms;
    promised_ms += plan.objective_ms;
  }
  CHECK(plan_ms < 0.9 * fifo_ms);
  CHECK(std::abs(promised_ms / plan_ms - 1.0) < 0.1);
}
