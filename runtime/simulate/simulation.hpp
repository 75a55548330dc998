// Runs a scenario: makes its load once and serves it each of its ways. No files, no clock.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "runtime/simulate/scenario.hpp"

namespace troupe::simulate {

/// What the files that a scenario names hold.
struct scenario_data {
  std::vector<token_lengths> lengths;  ///< of sharegpt
  std::vector<double> arrivals_s;      ///< one for each request; empty: draw them
  std::vector<virtual_request> trace;  ///< of trace; of the load only deadlines count then
};

struct way_report {
  run_figures figures;
  std::vector<virtual_moment> moments;  ///< some hundred, evenly over the steps
  double usd_per_hour = 0.0;
  std::uint32_t seats = 0;
  std::uint64_t kv_positions = 0;
  /// Tokens of any kind at the data sheet's rate; nothing for a machine that was measured.
  std::optional<double> peak_tokens_per_s;
};

struct simulation_report {
  std::size_t request_count = 0;
  double prompt_tokens_mean = 0.0, output_tokens_mean = 0.0;
  std::vector<way_report> ways;  ///< as in the scenario
};

/// `on_way`: told the name of each way before it is run. Errors: invalid_argument.
result<simulation_report> simulate(const scenario& what, const scenario_data& data,
                                   const std::function<void(const std::string&)>& on_way);

}  // namespace troupe::simulate
