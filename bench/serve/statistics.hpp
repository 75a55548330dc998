// The figures of a load, by the definitions of vLLM's client, so that both can be read side by
// side.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "bench/serve/request_record.hpp"

namespace troupe::bench {

/// percent in [0, 100], interpolated linearly between the two nearest values, as numpy does; 0
/// where there are no values.
double percentile(const std::vector<double>& ascending, double percent);

struct distribution {
  double mean_ms = 0.0, median_ms = 0.0, std_ms = 0.0;
  std::vector<std::pair<double, double>> percentiles_ms;  ///< percent, value
};

/// values in seconds, in any order.
distribution describe_times(std::vector<double> values_s, const std::vector<double>& percents);

/// What a good request stays within, in milliseconds; an absent bound holds for all.
struct goodput_bounds {
  std::optional<double> ttft_ms, tpot_ms, e2el_ms;
  [[nodiscard]] bool are_given() const { return ttft_ms || tpot_ms || e2el_ms; }
};

struct load_figures {
  std::size_t completed = 0, failed = 0;
  double duration_s = 0.0;
  std::uint64_t input_tokens = 0, output_tokens = 0;  ///< of the completed requests
  double request_throughput = 0.0, output_throughput = 0.0,
         total_token_throughput = 0.0;       ///< a second
  std::optional<double> request_goodput;     ///< a second; only with bounds
  double peak_output_tokens_per_s = 0.0;     ///< messages with tokens in the busiest second
  std::size_t peak_concurrent_requests = 0;  ///< that were in flight at any time of one second
  double largest_lag_ms = 0.0;
  distribution ttft, tpot, itl, e2el;
};

struct figure_options {
  double duration_s = 0.0;
  std::vector<double> percents;
  goodput_bounds goodput;
};

load_figures summarize(const std::vector<const request_record*>& records,
                       const figure_options& options);

}  // namespace troupe::bench
