// What was measured, as a table and as JSON.
#pragma once

#include <string>
#include <vector>

#include "bench/kernels/kernel_runner.hpp"
#include "bench/kernels/machine_limits.hpp"

namespace troupe::bench {

struct kernel_report {
  std::string cpu_name;
  isa set = isa::reference;
  cache_sizes caches{};
  double huge_share = 0.0;  ///< of the memory that was asked for on huge pages
  machine_limits one_thread{};
  machine_limits all_threads{};  ///< what the kernels are held against
  std::vector<kernel_measurement> measurements{};
};

/// The limits that held for a case: of memory, what it gave beside the case where that was asked.
machine_limits limits_beside(const kernel_measurement& measured, const machine_limits& limits);

/// The median's share of what its limit allows: 1 is perfect.
double fraction_of_limit(const kernel_measurement& measured, const machine_limits& limits);

std::string kernel_report_table(const kernel_report& report);
std::string kernel_report_json(const kernel_report& report);

}  // namespace troupe::bench
