// Runs the cases that were chosen and keeps what they took. Fractions of a limit are made later,
// when the limits are known for good.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <regex>
#include <span>
#include <string>
#include <vector>

#include "bench/kernels/repeated_timing.hpp"
#include "bench/kernels/roofline.hpp"
#include "kernels/base/cache_sizes.hpp"
#include "kernels/base/cpu_features.hpp"
#include "kernels/base/thread_pool.hpp"

namespace troupe::bench {

struct kernel_measurement {
  std::string name;
  kernel_work work;
  repeated_timing timing;
  std::size_t token_count = 0;  ///< of a whole step; 0 for a kernel
  /// Bytes/s that memory gave just before and after, on average; 0: not asked. Others that share
  /// the machine's memory take from it, so what one case gets says little about the next.
  double memory_rate = 0.0;
};

/// A case that is only itself among others (kernel_runner::run_in_turn).
struct kernel_part {
  std::string name;
  kernel_work work;
  std::function<void()> body;
  std::size_t token_count = 0;
};

struct kernel_runner_options {
  isa set = isa::reference;
  std::regex only;
  timing_budget budget;                 ///< of a case
  std::function<double()> memory_rate;  ///< bytes/s that memory gives now
};

class kernel_runner {
  using clock = std::chrono::steady_clock;

 public:
  kernel_runner(const kernel_runner_options& options, const cache_sizes& sizes, thread_pool& pool)
      : options_(options), sizes_(sizes), pool_(pool) {}

  [[nodiscard]] isa set() const { return options_.set; }
  [[nodiscard]] thread_pool& pool() const { return pool_; }
  [[nodiscard]] const cache_sizes& sizes() const { return sizes_; }
  [[nodiscard]] const std::vector<kernel_measurement>& measurements() const {
    return measurements_;
  }

  /// Ask before preparing anything that takes time.
  [[nodiscard]] bool wants(const std::string& name) const;
  [[nodiscard]] bool wants_any(const std::vector<std::string>& names) const;

  /// Times body where the name is wanted.
  void run(const std::string& name, const kernel_work& work, const std::function<void()>& body);
  /// Runs all parts in turn where any is wanted, and keeps those that are.
  void run_in_turn(std::span<const kernel_part> parts);

 private:
  /// Before a case: what memory gives, or gave after the last case if that was just now.
  double memory_rate_before();
  /// Keeps the case's measurements, with what memory gave around them.
  void add_measurements(std::vector<kernel_measurement> measured, double rate_before);

  kernel_runner_options options_;
  cache_sizes sizes_;
  thread_pool& pool_;
  std::vector<kernel_measurement> measurements_;
  double last_memory_rate_ = 0.0;  ///< after the last case
  clock::time_point last_case_end_{};
};

/// Says on stderr what is being measured: on a terminal in one line that is written again and
/// again, elsewhere nothing. Empty text clears the line.
void show_progress(const std::string& text);

}  // namespace troupe::bench
