// The subcommands of `troupe`, one file each. A command adds itself to the parser and sets what to
// run.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

namespace troupe::cli {

/// What was chosen on the command line; returns the exit code.
using chosen_command = std::function<int()>;

void add_serve(CLI::App& parser, chosen_command& chosen);
void add_chat(CLI::App& parser, chosen_command& chosen);
void add_complete(CLI::App& parser, chosen_command& chosen);
void add_tokenize(CLI::App& parser, chosen_command& chosen);
void add_model(CLI::App& parser, chosen_command& chosen);
void add_bench(CLI::App& parser, chosen_command& chosen);
void add_simulate(CLI::App& parser, chosen_command& chosen);

}  // namespace troupe::cli
