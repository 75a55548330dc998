// `troupe bench kernels`: this machine's limits, and every kernel as a fraction of the one that
// binds it.
#pragma once

#include <cstddef>
#include <string>

#include "bench/kernels/kernel_report.hpp"
#include "kernels/base/result.hpp"

namespace troupe::bench {

struct kernel_bench_options {
  std::string isa_name = "auto";
  std::size_t thread_count = 0;  ///< 0: all that the machine has
  std::string only;              ///< a regular expression that names must contain; empty: all
  std::string model;             ///< a GGUF file for the forward pass; empty: none
  std::string kv_cache_dtype = "auto";  ///< of the forward pass: auto, f16, bf16, f32 or int8
  bool is_quick = false;                ///< as short as still means something
};

inline constexpr std::size_t bench_threads_max = 1024;

/// Progress goes to stderr. Limits are measured before, between and after the kernels; the best
/// of each counts. Errors:
/// unsupported or invalid_argument for the options, and those of opening the model.
result<kernel_report> measure_kernels(const kernel_bench_options& options);

}  // namespace troupe::bench
