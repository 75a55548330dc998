// `troupe complete`: continues a text.
#include <iostream>
#include <iterator>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/generation_options.hpp"

namespace troupe::cli {

void add_complete(CLI::App& parser, chosen_command& chosen) {
  auto given = std::make_shared<generation_options>();
  auto prompt = std::make_shared<std::string>();
  auto* command = parser.add_subcommand("complete", "Continue a text (PROMPT, or standard input)");
  auto* text = command->add_option("PROMPT", *prompt, "the text to continue");
  add_generation_flags(*command, *given);
  command->callback([given, prompt, text, &chosen] {
    if (text->count() == 0) prompt->assign(std::istreambuf_iterator<char>(std::cin), {});
    chosen = [given, prompt] {
      submit request = given->request;
      request.prompt = *prompt;
      return generation_place(*given).generate_and_print(request).exit_code;
    };
  });
}

}  // namespace troupe::cli
