// A load's figures as text and as JSON, in the words, the layout and the key names of vLLM's
// client.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "bench/serve/statistics.hpp"
#include "kernels/base/result.hpp"

namespace troupe::bench {

/// What was asked for, beside what came of it.
struct load_setup {
  std::string url, model, dataset;
  std::size_t request_count = 0, concurrency_max = 0;  ///< concurrency_max 0: no bound
  double rate_per_s = 0.0;                             ///< infinite: none
  double burstiness = 1.0;
  std::uint64_t seed = 0;
};

struct load_report {
  load_setup setup;
  load_figures figures;
  std::map<lane, load_figures> lanes;  ///< only where lanes were asked for
  std::vector<std::string> metrics;    ///< of ttft, tpot, itl, e2el: those to be printed
  std::vector<std::string> failures;   ///< messages, each once
  double client_cpu_s = 0.0;           ///< user and system time of this process during the load
};

/// "ttft,tpot": each of ttft, tpot, itl, e2el. Error: invalid_argument.
result<std::vector<std::string>> parse_metrics(std::string_view text);
/// "90,99.9": each in [0, 100]. Error: invalid_argument.
result<std::vector<double>> parse_percents(std::string_view text);
/// "ttft:200", "tpot:50", "e2el:5000" in milliseconds. Error: invalid_argument.
result<goodput_bounds> parse_goodput(const std::vector<std::string>& pairs);

std::string report_text(const load_report& report);
std::string report_json(const load_report& report);

}  // namespace troupe::bench
