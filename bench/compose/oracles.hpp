// Other searches over the same orders with the same predictions, to measure the genetic one by.
// Each begins with the same seeds and stops when its processor time is over.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "runtime/schedule/compose/order_prediction.hpp"

namespace troupe::bench {

inline const compose_budget no_end = [](std::uint64_t) { return 0.0; };

/// Processor time of the calling thread in milliseconds.
double thread_ms();
/// So much of it, from now on.
compose_budget processor_budget(double budget_ms);

struct search_task {
  const batch_problem& problem;
  double budget_ms = 20.0;
  std::uint64_t seed = 0;
};
using order_search = std::function<order_candidate(const search_task&)>;

struct named_search {
  std::string_view name;
  order_search search;
};
/// The genetic search first. pagmo's is among them where the build has it.
std::vector<named_search> all_searches();

/// Orders drawn at random, each as good as any other.
order_candidate search_at_random(const search_task& task);
/// Simulated annealing (Kirkpatrick, Gelatt, Vecchi, 1983) over insertions, swaps and changes of
/// the bound, from the best seed, cooled geometrically.
order_candidate search_by_annealing(const search_task& task);
/// pagmo's simple genetic algorithm on random keys: one for each prefix node, one for each request,
/// and the bound.
order_candidate search_by_pagmo(const search_task& task);

/// The best of all orders and bounds; for few requests.
order_candidate search_all(const batch_problem& problem);

}  // namespace troupe::bench
