// The orders that a search begins with: what one would try without one.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/schedule/compose/batch_problem.hpp"

namespace troupe {

/// Every waiting request once; by precedence first, whatever the order.
std::vector<std::uint32_t> seed_order_of(const batch_problem& problem, seed_order which);

}  // namespace troupe
