#include "runtime/schedule/compose/compose.hpp"

#include <algorithm>
#include <unordered_map>

#include "runtime/schedule/compose/genetic_search.hpp"

namespace troupe {
namespace {

/// The plan before, as far as its requests still wait; those that came since follow.
std::vector<std::uint32_t> previous_order_of(const batch_problem& problem,
                                             const async_batch_view& view) {
  std::unordered_map<request_id, std::uint32_t> waiting;
  for (std::uint32_t i = 0; i < problem.waiting_count; ++i) waiting[view.waiting[i].id] = i;
  std::vector<std::uint32_t> order;
  for (const request_id id : view.previous_order) {
    const auto found = waiting.find(id);
    if (found == waiting.end()) continue;
    order.push_back(found->second);
    waiting.erase(found);
  }
  for (std::uint32_t i = 0; i < problem.waiting_count; ++i) {
    if (waiting.contains(view.waiting[i].id)) order.push_back(i);
  }
  std::ranges::stable_sort(order, {}, [&](std::uint32_t i) { return problem.precedence[i]; });
  return order;
}

}  // namespace

async_plan compose_batches(const async_batch_view& view, const compose_options& options,
                           const compose_budget& budget) {
  async_plan plan;
  if (view.waiting.empty()) return plan;
  const batch_problem problem(view, options.objective, options.seed);
  order_prediction prediction(problem, budget);
  std::vector<order_candidate> seeds = prediction.predict_seeds();
  for (std::size_t i = 0; i < seeds.size(); ++i)
    plan.seed_objective_ms[i] = seeds[i].objective_ms();
  plan.previous_objective_ms = plan.seed_objective_ms[0];
  if (!view.previous_order.empty()) {
    const std::uint32_t bound =
        std::clamp(view.previous_running_max, problem.width_max, problem.limits.sequences_max);
    seeds.push_back({previous_order_of(problem, view), bound, {}, {}});
    prediction.predict(seeds.back());
    plan.previous_objective_ms = seeds.back().objective_ms();
  }
  const order_candidate best =
      improve_by_genetic_search(problem, prediction, std::move(seeds), options.seed);

  for (const std::uint32_t i : best.order) plan.order.push_back(view.waiting[i].id);
  for (std::size_t i = problem.waiting_count; i < view.waiting.size(); ++i)
    plan.order.push_back(view.waiting[i].id);
  if (best.running_max < problem.limits.sequences_max) plan.running_max = best.running_max;
  plan.objective_ms = best.objective_ms();
  plan.replays = prediction.replays();
  return plan;
}

}  // namespace troupe
