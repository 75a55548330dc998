// `troupe`: the one binary. Text goes to stdout, everything else to stderr.
#include <iostream>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"

int main(int argument_count, char** arguments) {
  using namespace troupe::cli;
  spdlog::set_default_logger(spdlog::stderr_color_mt("troupe"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");

  CLI::App parser{"Troupe serves large language models from actors.", "troupe"};
  parser.set_version_flag("--version", TROUPE_VERSION);
  parser.require_subcommand(1);
  parser.footer(
      "Exit codes: 0 done; 1 the request failed; 2 wrong arguments or configuration; 3 the model "
      "is missing,\n"
      "corrupt or not supported; 4 no server answers, or an address is in use; 5 not enough "
      "memory;\n"
      "70 the engine failed and could not be restarted.");
  chosen_command chosen;
  add_serve(parser, chosen);
  add_chat(parser, chosen);
  add_complete(parser, chosen);
  add_tokenize(parser, chosen);
  add_model(parser, chosen);
  add_bench(parser, chosen);
  add_simulate(parser, chosen);
  try {
    parser.parse(argument_count, arguments);
  } catch (const CLI::ParseError& failure) {
    const int code = parser.exit(failure, std::cout, std::cerr);
    return code == 0 ? exit_ok : exit_usage;
  }
  return chosen();
}
