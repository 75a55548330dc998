#include "bench/kernels/kernel_bench.hpp"

#include <algorithm>
#include <fstream>
#include <regex>
#include <string>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "bench/kernels/kernel_cases.hpp"
#include "kernels/attention/kv_dtype_name.hpp"

namespace troupe::bench {

namespace {

/// Of a case, and of each limit each time it is measured.
struct bench_pace {
  timing_budget case_budget;
  double limit_seconds = 0.0;
};
constexpr bench_pace default_pace{{0.025, 5}, 0.05};
constexpr bench_pace quick_pace{{0.002, 3}, 0.01};
/// Threads that wait for the next call must not fall asleep between two.
constexpr std::uint32_t spin_us = 200;

std::string read_cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown CPU";
}

result<std::regex> parse_regex(const std::string& text) {
  try {
    return std::regex(text);
  } catch (const std::regex_error& failure) {
    return error{errc::invalid_argument, fmt::format("--only '{}': {}", text, failure.what())};
  }
}

/// Everything that a measurement needs for as long as it runs.
struct bench_run {
  const limit_meter& meter;
  kernel_runner& runner;
  double limit_seconds;
  kernel_report report;

  void measure_limits() {
    show_progress("limits");
    thread_pool single({.thread_count = 1});
    report.one_thread.raise_to(meter.measure(single, limit_seconds));
    thread_pool& pool = runner.pool();
    report.all_threads.raise_to(pool.thread_count() == 1 ? report.one_thread
                                                         : meter.measure(pool, limit_seconds));
  }

  /// Limits come before, between and after: other work on the machine may hide them for a while.
  result<void> measure_all(const forward_options& forward) {
    measure_limits();
    for (const auto run :
         {run_matmul_cases, run_attention_cases, run_row_cases, run_sampling_cases}) {
      run(runner);
      measure_limits();
    }
    if (forward.model.empty()) return {};
    TROUPE_TRY_VOID(run_forward_cases(runner, forward));
    measure_limits();
    return {};
  }
};

}  // namespace

result<kernel_report> measure_kernels(const kernel_bench_options& options) {
  TROUPE_TRY(const isa set, parse_isa(options.isa_name));
  TROUPE_TRY(const auto kv_type, kernels::parse_kv_dtype(options.kv_cache_dtype, set));
  TROUPE_TRY(auto only, parse_regex(options.only));
  const std::size_t wanted_threads =
      options.thread_count != 0 ? options.thread_count : std::thread::hardware_concurrency();
  const bench_pace& pace = options.is_quick ? quick_pace : default_pace;
  thread_pool pool({.thread_count = std::clamp<std::size_t>(wanted_threads, 1, bench_threads_max),
                    .nice = 0,
                    .spin_us = spin_us});
  const cache_sizes caches = read_cache_sizes();
  TROUPE_TRY(const auto meter, limit_meter::create(set, caches, pool.thread_count()));
  kernel_runner runner(
      {set, std::move(only), pace.case_budget, [&] { return meter.memory_rate_now(pool); }}, caches,
      pool);
  bench_run run{meter,
                runner,
                pace.limit_seconds,
                {.cpu_name = read_cpu_name(),
                 .set = set,
                 .caches = caches,
                 .huge_share = meter.huge_share()}};
  const auto done = run.measure_all({options.model, kv_type});
  show_progress("");
  if (!done) return done.failure();
  run.report.measurements = runner.measurements();
  return std::move(run.report);
}

}  // namespace troupe::bench
