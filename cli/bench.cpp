// `troupe bench`: measurements, a subcommand each.
#include "cli/commands.hpp"

namespace troupe::cli {

void add_bench(CLI::App& parser, chosen_command& chosen) {
  auto* bench = parser.add_subcommand("bench", "Measure");
  bench->require_subcommand(1);
  add_bench_kernels(*bench, chosen);
}

}  // namespace troupe::cli
