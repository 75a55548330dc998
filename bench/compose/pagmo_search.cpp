#include <algorithm>
#include <numeric>

#include <pagmo/algorithm.hpp>
#include <pagmo/algorithms/sga.hpp>
#include <pagmo/population.hpp>
#include <pagmo/problem.hpp>

#include "bench/compose/oracles.hpp"

namespace troupe::bench {
namespace {

/// What the problems that pagmo copies have in common.
struct shared_state {
  const batch_problem& problem;
  order_prediction prediction{problem, no_end};
  order_candidate best;
};

/// Keys in [0, 1]: of nodes, of requests, and of the bound.
struct key_problem {
  shared_state* shared = nullptr;

  [[nodiscard]] std::pair<pagmo::vector_double, pagmo::vector_double> get_bounds() const {
    const std::size_t count = dimension();
    return {pagmo::vector_double(count, 0.0), pagmo::vector_double(count, 1.0)};
  }
  [[nodiscard]] pagmo::vector_double fitness(const pagmo::vector_double& keys) const {
    const batch_problem& problem = shared->problem;
    const std::size_t nodes = problem.tree.nodes().size();
    std::vector<double> scores(problem.waiting_count);
    for (std::uint32_t i = 0; i < problem.waiting_count; ++i) {
      scores[i] = keys[nodes + i];
      for (const std::uint32_t node : problem.tree.path_of(i)) scores[i] += keys[node];
    }
    order_candidate candidate;
    candidate.order.resize(problem.waiting_count);
    std::iota(candidate.order.begin(), candidate.order.end(), 0u);
    std::ranges::stable_sort(candidate.order, {}, [&](std::uint32_t i) { return scores[i]; });
    const double bounds = problem.limits.sequences_max - problem.width_max;
    candidate.running_max =
        problem.width_max + static_cast<std::uint32_t>(std::lround(keys.back() * bounds));
    shared->prediction.predict(candidate);
    if (candidate.objective_ms() < shared->best.objective_ms()) shared->best = candidate;
    return {candidate.objective_ms()};
  }
  [[nodiscard]] std::size_t dimension() const {
    return shared == nullptr
               ? 1
               : shared->problem.tree.nodes().size() + shared->problem.waiting_count + 1;
  }
};

/// Keys under which a seed is what they say: those of nodes say nothing.
pagmo::vector_double keys_of(const order_candidate& seed, std::size_t nodes) {
  pagmo::vector_double keys(nodes, 0.0);
  keys.resize(nodes + seed.order.size() + 1, 1.0);
  for (std::size_t i = 0; i < seed.order.size(); ++i)
    keys[nodes + seed.order[i]] = static_cast<double>(i) / static_cast<double>(seed.order.size());
  return keys;
}

}  // namespace

order_candidate search_by_pagmo(const search_task& task) {
  constexpr pagmo::population::size_type members = 16;
  const double end_ms = thread_ms() + task.budget_ms;
  shared_state shared{task.problem};
  const auto seeds = shared.prediction.predict_seeds();
  shared.best = *std::ranges::min_element(seeds, {}, &order_candidate::objective_ms);
  pagmo::population population(pagmo::problem(key_problem{&shared}), 0,
                               static_cast<unsigned>(task.seed));
  for (const order_candidate& each : seeds) {
    population.push_back(keys_of(each, task.problem.tree.nodes().size()),
                         pagmo::vector_double{each.objective_ms()});
  }
  while (population.size() < members && thread_ms() < end_ms)
    population.push_back(population.random_decision_vector());
  const pagmo::algorithm generation(pagmo::sga(1, 0.9, 1.0, 0.02, 1.0, 2, "sbx", "polynomial",
                                               "tournament", static_cast<unsigned>(task.seed)));
  while (thread_ms() < end_ms) population = generation.evolve(population);
  return shared.best;
}

}  // namespace troupe::bench
