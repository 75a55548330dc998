// `troupe bench`: the parent of the measuring commands.
#include "cli/bench.hpp"

namespace troupe::cli {

void add_bench(CLI::App& parser, chosen_command& chosen) {
  auto* bench = parser.add_subcommand("bench", "Measure a server, or this machine and the kernels");
  bench->require_subcommand(1);
  add_bench_serve(*bench, chosen);
  add_bench_kernels(*bench, chosen);
}

}  // namespace troupe::cli
