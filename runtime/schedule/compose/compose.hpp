// The composer of asynchronous batches: a genetic algorithm over orders of admission, whose decoder
// is a model of the scheduler's own policy (batch_replay.hpp). Pure: no clock, no threads; equal
// views, options and budgets give equal plans.
#pragma once

#include <cstdint>
#include <functional>

#include "runtime/schedule/compose/async_batch.hpp"

namespace troupe {

/// What share of its budget the search has spent, asked before each prediction after the seeds'
/// first; it gets the number of predictions made. From 1 on it ends, and the best plan so far is
/// the answer.
using compose_budget = std::function<double(std::uint64_t replays)>;

/// So many predictions, whatever the clocks say; 0: the seeds alone.
inline compose_budget replay_budget(std::uint64_t most) {
  return [most](std::uint64_t replays) {
    return most == 0 ? 1.0 : static_cast<double>(replays) / static_cast<double>(most);
  };
}

struct compose_options {
  std::uint64_t seed = 0;
  async_objective objective;
};

/// Requests beyond limits::composed_requests_max follow in the order of the view.
[[nodiscard]] async_plan compose_batches(const async_batch_view& view,
                                         const compose_options& options,
                                         const compose_budget& budget);

}  // namespace troupe
