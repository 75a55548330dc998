// The subcommands of `troupe bench`, one file each.
#pragma once

#include "cli/commands.hpp"

namespace troupe::cli {

void add_bench_serve(CLI::App& bench, chosen_command& chosen);
void add_bench_kernels(CLI::App& bench, chosen_command& chosen);

}  // namespace troupe::cli
