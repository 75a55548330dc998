// `troupe bench kernels`: what this machine can do, and how much of it each kernel does.
#include <cstdio>
#include <fstream>
#include <memory>

#include "bench/kernels/kernel_bench.hpp"
#include "cli/bench.hpp"
#include "cli/exit_codes.hpp"

namespace troupe::cli {

namespace {

int report_failure(const error& failure) {
  std::fprintf(stderr, "troupe: %s\n", failure.message.c_str());
  return exit_code_of(failure);
}

int run(const bench::kernel_bench_options& options, const std::string& json_path) {
  const auto report = bench::measure_kernels(options);
  if (!report) return report_failure(report.failure());
  std::fputs(bench::kernel_report_table(*report).c_str(), stdout);
  if (json_path.empty()) return exit_ok;
  std::ofstream file(json_path);
  file << bench::kernel_report_json(*report) << std::flush;
  if (!file) return report_failure({errc::internal, "cannot write " + json_path});
  return exit_ok;
}

}  // namespace

void add_bench_kernels(CLI::App& bench, chosen_command& chosen) {
  struct options {
    bench::kernel_bench_options bench;
    std::string json_path;
  };
  auto given = std::make_shared<options>();
  auto* command = bench.add_subcommand(
      "kernels",
      "Measure this machine's limits, and each CPU kernel as a fraction of the one that binds it");
  command->add_option("--threads", given->bench.thread_count, "compute threads (default: all)")
      ->check(CLI::Range(std::size_t{1}, bench::bench_threads_max));
  command->add_option("--isa", given->bench.isa_name, "auto, reference, avx2, avx512 or amx");
  command->add_option("--only", given->bench.only,
                      "only cases whose names contain this regular expression");
  command->add_option("--model", given->bench.model, "also the forward pass of this GGUF file");
  command
      ->add_option("--kv-cache-dtype", given->bench.kv_cache_dtype,
                   "of the forward pass: auto, f16, bf16, f32 or int8")
      ->capture_default_str();
  command->add_option("--json", given->json_path, "write everything measured to this file");
  command->add_flag("--quick", given->bench.is_quick,
                    "a few milliseconds a case: to see that it works");
  command->callback(
      [given, &chosen] { chosen = [given] { return run(given->bench, given->json_path); }; });
}

}  // namespace troupe::cli
