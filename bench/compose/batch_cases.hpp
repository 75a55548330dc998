// Workloads for the composer of asynchronous batches, as it sees them (prompts, max_tokens,
// deadlines) and as they then are (output lengths), for virtual time.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/schedule/compose/async_batch.hpp"
#include "runtime/simulate/virtual_request.hpp"

namespace troupe::bench {

enum class batch_workload : std::uint8_t {
  prefix_pool,       ///< groups that share prompts' beginnings; together larger than the KV cache
  mixed_deadlines,   ///< too little time for all; every third has no deadline
  blend,             ///< long prompts with short answers, short prompts with long ones
  plain,             ///< conversations: nothing shared, nothing due
  prefix_deadlines,  ///< prefix_pool, and half of the requests are due
  tight_blocks,      ///< long outputs in a small KV cache
};
inline constexpr std::array all_batch_workloads{
    batch_workload::prefix_pool, batch_workload::mixed_deadlines,  batch_workload::blend,
    batch_workload::plain,       batch_workload::prefix_deadlines, batch_workload::tight_blocks};

std::string_view to_string(batch_workload value);

struct batch_case {
  async_batch_view view;                            ///< request i has the id i
  std::vector<simulate::virtual_request> requests;  ///< in the same order, all at time 0
  std::vector<double> due_ms;                       ///< infinite: no deadline
};

/// The same description and seed make the same case.
batch_case make_batch_case(batch_workload workload, std::uint32_t request_count,
                           std::uint64_t seed);

/// The engine that a case is for. Plans may hold requests back as long as they like.
scheduler_limits scheduler_limits_of(const batch_case& of);

/// What became of a case in virtual_engine, where scheduler_core itself follows a plan.
struct realized_batch {
  double makespan_ms = 0.0;
  double tardiness_ms = 0.0;
  std::uint64_t recomputed_rows = 0;
  std::uint64_t preemptions = 0;
  double objective_ms = 0.0;
};
realized_batch realize(const batch_case& of, const std::vector<request_id>& order,
                       std::uint32_t running_max, const async_objective& objective);

}  // namespace troupe::bench
