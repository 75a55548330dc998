// `troupe model FILE`: what a GGUF file holds.
#include <cstdio>
#include <memory>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "runtime/model/describe.hpp"

namespace troupe::cli {

void add_model(CLI::App& parser, chosen_command& chosen) {
  struct options {
    std::string file;
    bool json = false, verbose = false;
  };
  auto given = std::make_shared<options>();
  auto* command = parser.add_subcommand("model", "Print what a GGUF file holds");
  command->add_option("FILE", given->file, "a GGUF file")->required();
  command->add_flag("--json", given->json, "as JSON");
  command->add_flag("-v,--verbose", given->verbose, "with all metadata and tensors");
  command->callback([given, &chosen] {
    chosen = [given] {
      auto file = gguf_file::open(given->file);
      if (!file) {
        std::fprintf(stderr, "troupe: %s\n", file.failure().message.c_str());
        return exit_code_of(file.failure());
      }
      const auto level = given->verbose ? detail_level::everything : detail_level::summary;
      std::fputs(
          (given->json ? describe_json(*file, level) + "\n" : describe(*file, level)).c_str(),
          stdout);
      return exit_ok;
    };
  });
}

}  // namespace troupe::cli
