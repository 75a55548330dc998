// A genetic algorithm over orders: a small population that begins with the seeds, one child at a
// time, the worst replaced by a child that is better. Half of the children are mutations of the
// best one, which is the local improvement; the others come from two parents chosen by tournament.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/schedule/compose/order_moves.hpp"

namespace troupe {

/// population: predicted, at least one. The best that was found when the budget ended.
order_candidate improve_by_genetic_search(const batch_problem& problem,
                                          order_prediction& prediction,
                                          std::vector<order_candidate> population,
                                          std::uint64_t seed);

}  // namespace troupe
