// What tests of lanes share: a machine whose rows cost nearly 1 ms and everything else next to
// nothing, one with reserves, and short ways to start requests and wait for them.
#pragma once

#include <algorithm>
#include <set>

#include "tests/runtime/schedule/driven_scheduler.hpp"

namespace troupe::test {

using id_list = std::vector<std::uint64_t>;

inline scheduler_limits timed_limits() {
  auto limits = small_limits();
  limits.max_num_seqs = 32;
  limits.block_count = 1024;
  limits.max_batch_size = 32;
  limits.max_num_batched_tokens = 1024;
  limits.step_ms_max = 100;
  limits.vip_step_ms_max = 10;
  limits.initial_cost = row_costs(0.99);
  return limits;
}

/// Requests first .. first + count - 1, run until all of them decode.
inline void start(driven_scheduler& driven, std::uint64_t first, std::uint64_t count,
                  request_shape shape) {
  for (std::uint64_t id = first; id < first + count; ++id) driven.submit(id, shape);
  while (driven.core.counts().waiting[to_index(shape.service)] != 0) driven.step();
  driven.step();
}

inline std::set<std::uint64_t> set_of(const step_plan& plan) {
  const auto ids = ids_of(plan);
  return {ids.begin(), ids.end()};
}

inline std::array<std::uint32_t, lane_count> running(const driven_scheduler& driven) {
  return driven.core.counts().running;
}

/// Steps of 50 ms until the request is admitted, at most 1,500; `each` goes before every step.
template <class Each>
int steps_until_started(driven_scheduler& driven, std::uint64_t id, Each&& each) {
  for (int steps = 1; steps < 1'500; ++steps) {
    each();
    driven.now += std::chrono::milliseconds{50};
    const auto started = ids_of(driven.step().started);
    if (std::ranges::count(started, id) != 0) return steps;
  }
  return 1'500;
}

inline scheduler_limits shared_limits() {
  auto limits = small_limits();
  limits.max_num_seqs = 8;
  limits.max_num_queued_reqs = 2'000;
  limits.block_count = 2'048;
  limits.max_model_len = 1'024;
  limits.lanes[to_index(lane::vip)].reserved_fraction = 0.25;
  limits.lanes[to_index(lane::realtime)].reserved_fraction = 0.25;
  return limits;
}

}  // namespace troupe::test
