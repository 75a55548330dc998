// A genetic algorithm over orders: a small population that begins with the seeds, one child at a
// time, the worst replaced by a better one. Most mutations are of the best member, which is the
// local improvement; other children come from parents chosen by tournament. Which moves are tried
// follows what they gained. A population that finds nothing more starts anew near the best order of
// all, which is kept aside. What is left of the budget polishes that one by annealing.
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
