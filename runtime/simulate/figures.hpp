// The figures of one simulated run: what clients saw by lane, what the machine did, what it cost.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/simulate/virtual_request.hpp"

namespace troupe::simulate {

/// Milliseconds.
struct time_distribution {
  double mean = 0.0, p50 = 0.0, p90 = 0.0, p95 = 0.0, p99 = 0.0;
  std::vector<double> percents;  ///< quantiles 0, 1, ..., 100 percent; empty: nothing was measured

  [[nodiscard]] bool is_empty() const { return percents.empty(); }
};
/// Values in any order; they are sorted. Quantiles are interpolated linearly between neighbours.
time_distribution describe(std::vector<double>& values_ms);

/// What a lane promises; an absent bound always holds.
struct lane_targets {
  std::optional<double> ttft_ms, tpot_ms, e2e_ms;
  [[nodiscard]] bool any() const { return ttft_ms || tpot_ms || e2e_ms; }
};

struct lane_figures {
  std::uint64_t completed = 0, refused = 0;
  /// Of those with a deadline: ended before it, refused because of it, ended by it.
  std::uint64_t deadlines_met = 0, deadlines_refused = 0, deadlines_missed = 0;
  std::uint64_t prompt_tokens = 0, output_tokens = 0;  ///< of the completed
  time_distribution ttft, e2e;
  time_distribution tpot;  ///< of answers of several tokens that come in pieces
  time_distribution wait;  ///< from submission to the first step, or to the end where none came
  double oldest_wait_ms = 0.0;
  double held_ms_max = 0.0;          ///< of one request's wait, while the engine had room for it
  double overtaken_by_ms_max = 0.0;  ///< how much later the latest came that went first
  /// Shares of the requests whose lane has a bound, refused ones included, that kept each and all.
  /// Nothing: there is no bound, or the way has no TPOT that could keep it. An answer of one token
  /// keeps any bound of TPOT.
  std::optional<double> ttft_kept, tpot_kept, e2e_kept, all_kept;

  [[nodiscard]] std::uint64_t count() const {
    return completed + refused + deadlines_refused + deadlines_missed;
  }
  [[nodiscard]] bool has_deadlines() const {
    return deadlines_met + deadlines_refused + deadlines_missed != 0;
  }
};

struct run_figures {
  double duration_s = 0.0;  ///< from the first submission to the last reply
  double requests_per_s = 0.0, output_tokens_per_s = 0.0, tokens_per_s = 0.0;
  lane_figures all;
  std::array<lane_figures, lane_count> lanes;
  // Shares, 0 to 1.
  double busy = 0.0;         ///< of the duration: a step or a start-up runs
  double utilization = 0.0;  ///< of the duration: the device works on rows that somebody wanted
  double startup = 0.0;      ///< of the duration
  double overhead = 0.0;     ///< of the duration
  double padding = 0.0;      ///< of the rows computed
  double recomputed = 0.0;   ///< of the rows computed
  double batch_fill = 0.0;   ///< of the seats, while busy
  double kv_fragmentation = 0.0;  ///< of the cache that is held: holds nothing
  double prefix_hit = 0.0;        ///< of the prompt tokens
  std::uint64_t steps = 0, preemptions = 0;
  double usd = 0.0, usd_per_1k_tokens = 0.0, usd_per_1k_output_tokens = 0.0;
  double usd_per_million_requests = 0.0;
};

run_figures summarize(std::span<const virtual_request> requests, const virtual_result& made,
                      const std::array<lane_targets, lane_count>& targets, double usd_per_hour);

}  // namespace troupe::simulate
