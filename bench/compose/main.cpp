// compose_bench: the figures of the composer of asynchronous batches (compose_bench.hpp).
#include <CLI/CLI.hpp>

#include "bench/compose/compose_bench.hpp"

int main(int argc, char** argv) {
  using namespace troupe::bench;
  CLI::App parser("Measure the composer of asynchronous batches");
  compose_bench_options options;
  std::uint32_t optimum_cases = 200;
  parser.add_option("--seeds", options.seeds, "Cases of each workload and size");
  parser.add_option("--budget-ms", options.budget_ms, "Processor time of one search");
  parser.require_subcommand(1);
  auto* optimum = parser.add_subcommand("optimum", "Distance from the best of all orders");
  optimum->add_option("--cases", optimum_cases, "Cases of at most 8 requests");
  optimum->callback([&] { print_optimum(optimum_cases); });
  parser.add_subcommand("decoder", "Predictions next to the scheduler itself")->callback([&] {
    print_decoder(options);
  });
  parser.add_subcommand("searches", "The search next to others, at equal time")->callback([&] {
    print_searches(options);
  });
  parser.add_subcommand("gain", "Plans next to heuristics in virtual time")->callback([&] {
    print_gain(options);
  });
  CLI11_PARSE(parser, argc, argv);
  return 0;
}
