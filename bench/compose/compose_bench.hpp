// What the composer of asynchronous batches is worth: its decoder against the scheduler, its search
// against other searches and against the optimum, and its plans against heuristics in virtual time.
// Each part prints a table.
#pragma once

#include <cstdint>

namespace troupe::bench {

struct compose_bench_options {
  std::uint32_t seeds = 30;  ///< cases of each workload and size
  double budget_ms = 20.0;   ///< processor time of one search
};

/// Time of a prediction next to scheduler_core's, and how far they are apart.
void print_decoder(const compose_bench_options& options);
/// Median gain over the best seed, for each search.
void print_searches(const compose_bench_options& options);
/// Distance from the best of all orders of at most 8 requests.
void print_optimum(std::uint32_t cases);
/// What plans are worth when scheduler_core follows them and outputs have lengths of their own.
void print_gain(const compose_bench_options& options);

}  // namespace troupe::bench
