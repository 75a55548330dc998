#include "bench/compose/oracles.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/base/thread_time.hpp"
#include "runtime/schedule/compose/genetic_search.hpp"

namespace troupe::bench {
namespace {

/// Of random orders' first samples: they differ more than neighbours do.
constexpr double random_slack = 0.02;

void keep_better(order_candidate& best, const order_candidate& candidate) {
  if (candidate.objective_ms() < best.objective_ms()) best = candidate;
}

order_candidate best_of(const std::vector<order_candidate>& candidates) {
  return *std::ranges::min_element(candidates, {}, &order_candidate::objective_ms);
}

order_candidate search_by_genes(const search_task& task) {
  order_prediction prediction(task.problem, processor_budget(task.budget_ms));
  auto seeds = prediction.predict_seeds();
  return improve_by_genetic_search(task.problem, prediction, std::move(seeds), task.seed);
}

/// An insertion, a swap, or another bound.
void disturb(order_candidate& candidate, const batch_problem& problem, search_random& random) {
  auto& order = candidate.order;
  const auto count = static_cast<std::uint32_t>(order.size());
  const std::uint32_t kind = random.below(10);
  const std::uint32_t from = random.below(count), to = random.below(count);
  const auto at = [&](std::uint32_t place) { return order.begin() + place; };
  if (kind == 0) {
    const std::uint32_t bounds = problem.limits.sequences_max - problem.width_max + 1;
    candidate.running_max = problem.width_max + random.below(bounds);
  } else if (kind < 4) {
    std::swap(order[from], order[to]);
  } else if (from < to) {
    std::rotate(at(from), at(from + 1), at(to + 1));
  } else {
    std::rotate(at(to), at(from), at(from + 1));
  }
}

}  // namespace

double thread_ms() {
  return std::chrono::duration<double, std::milli>(thread_cpu_time()).count();
}

compose_budget processor_budget(double budget_ms) {
  return [budget_ms, begin_ms = thread_ms()](std::uint64_t) {
    return (thread_ms() - begin_ms) / budget_ms;
  };
}

order_candidate search_at_random(const search_task& task) {
  const double end_ms = thread_ms() + task.budget_ms;
  order_prediction prediction(task.problem, no_end);
  order_candidate best = best_of(prediction.predict_seeds());
  search_random random(task.seed, search_random::stream::search);
  order_candidate candidate = best;
  auto& order = candidate.order;
  const auto count = static_cast<std::uint32_t>(order.size());
  const std::uint32_t bounds = task.problem.limits.sequences_max - task.problem.width_max + 1;
  while (thread_ms() < end_ms) {
    for (std::uint32_t i = 0; i < count; ++i)
      std::swap(order[i], order[i + random.below(count - i)]);
    candidate.running_max = task.problem.width_max + random.below(bounds);
    if (prediction.race(candidate, best, random_slack)) keep_better(best, candidate);
  }
  return best;
}

order_candidate search_by_annealing(const search_task& task) {
  // Temperatures as shares of the first objective.
  constexpr double hottest = 0.01, coldest = 1e-5;
  const double start_ms = thread_ms();
  order_prediction prediction(task.problem, no_end);
  order_candidate best = best_of(prediction.predict_seeds());
  order_candidate now = best, next;
  search_random random(task.seed, search_random::stream::search);
  const double scale = best.objective_ms();
  for (;;) {
    const double done = (thread_ms() - start_ms) / task.budget_ms;
    if (done >= 1.0) return best;
    const double temperature = scale * hottest * std::pow(coldest / hottest, done);
    next = now;
    disturb(next, task.problem, random);
    prediction.predict(next);
    const double worse = next.objective_ms() - now.objective_ms();
    if (worse > 0.0 && random.uniform() >= std::exp(-worse / temperature)) continue;
    now = next;
    keep_better(best, now);
  }
}

order_candidate search_all(const batch_problem& problem) {
  order_prediction prediction(problem, no_end);
  order_candidate candidate{std::vector<std::uint32_t>(problem.waiting_count), 0, {}, {}}, best;
  std::iota(candidate.order.begin(), candidate.order.end(), 0u);
  do {
    for (candidate.running_max = problem.width_max;
         candidate.running_max <= problem.limits.sequences_max; ++candidate.running_max) {
      prediction.predict(candidate);
      if (best.order.empty()) best = candidate;
      keep_better(best, candidate);
    }
  } while (std::ranges::next_permutation(candidate.order).found);
  return best;
}

std::vector<named_search> all_searches() {
  std::vector<named_search> searches{{"genetic", search_by_genes},
                                     {"random restarts", search_at_random},
                                     {"simulated annealing", search_by_annealing}};
#ifdef TROUPE_HAS_PAGMO
  searches.push_back({"pagmo sga", search_by_pagmo});
#endif
  return searches;
}

}  // namespace troupe::bench
