// A whole load: data, arrivals, a warm-up, the run, the figures.
#pragma once

#include <functional>

#include "bench/serve/lane_mix.hpp"
#include "bench/serve/load_transport.hpp"
#include "bench/serve/random_prompts.hpp"
#include "bench/serve/report.hpp"
#include "bench/serve/sharegpt.hpp"

namespace troupe::bench {

enum class dataset : std::uint8_t { random, sharegpt };

struct bench_options {
  std::string url = "http://127.0.0.1:8000";
  std::string api_key;            ///< of an HTTP server; empty: none
  std::string model_file;         ///< GGUF, for its tokenizer
  std::string served_model_name;  ///< empty: the first that the server names
  dataset data = dataset::random;
  std::string dataset_file;   ///< of sharegpt
  sharegpt_options sharegpt;  ///< its count and seed are those below
  random_options random;      ///< likewise
  std::size_t request_count = 1000;
  std::size_t concurrency_max = 0;  ///< 0: no bound
  double rate_per_s = std::numeric_limits<double>::infinity();
  double burstiness = 1.0;
  std::uint64_t seed = 0;
  std::size_t warmup_count = 1;  ///< the first request, this often before the clock starts
  generation_settings generation;
  std::vector<lane_share> lanes;  ///< empty: realtime for all, and no figures by lane
  std::vector<std::string> metrics{"ttft", "tpot", "itl", "e2el"};
  std::vector<double> percents{90.0, 99.0};
  goodput_bounds goodput;
};

struct bench_progress {
  std::function<void(const std::string&)> on_phase;
  std::function<void(float)> on_fraction;  ///< of the requests that have ended
};

/// Fails where the data cannot be made or the warm-up fails; failures of the run are figures of the
/// report.
result<load_report> run_bench(bench_options options, const bench_progress& progress);

}  // namespace troupe::bench
