// The old way of serving, to be compared with: batches are put together, padded to their longest
// prompt and run until their longest answer is done; every sequence holds one contiguous piece of
// KV cache as long as the longest allowed sequence; replies come whole, when the batch ends; a
// batch may begin with a cold start. On virtual time, like virtual_engine.
#pragma once

#include <span>

#include "kernels/base/result.hpp"
#include "runtime/simulate/step_cost.hpp"
#include "runtime/simulate/virtual_request.hpp"

namespace troupe::simulate {

struct static_batches_options {
  std::uint32_t batch_size = 1;
  monotonic_time wait_max{};             ///< how long the first of a batch waits for the others
  std::uint32_t reserved_tokens = 2048;  ///< positions held by each sequence; longer ones: refused
  std::uint64_t kv_positions = 0;        ///< that there are
  double cold_start_ms = 0.0;            ///< before each batch
  step_cost cost;
  client_behaviour clients;
  moment_observer observe;  ///< after each batch; empty: nobody looks
};

/// Errors: invalid_argument where the cache cannot hold one sequence.
result<virtual_result> run_static_batches(const static_batches_options& options,
                                          std::span<const virtual_request> requests);

}  // namespace troupe::simulate
