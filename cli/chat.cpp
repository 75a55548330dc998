// `troupe chat`: one message and its answer, or a conversation on the terminal.
#include <unistd.h>

#include <iostream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/generation_options.hpp"

namespace troupe::cli {

namespace {

struct chat_options {
  generation_options generation;
  std::string message, system;
};

int converse(const chat_options& given, bool interactive) {
  nlohmann::json messages = nlohmann::json::array();
  if (!given.system.empty()) messages.push_back({{"role", "system"}, {"content", given.system}});
  std::string message = given.message;
  generation_place place(given.generation);
  for (;;) {
    if (interactive) {
      std::cerr << "> " << std::flush;
      if (!std::getline(std::cin, message)) return exit_ok;
      if (message.empty()) continue;
    }
    messages.push_back({{"role", "user"}, {"content", message}});
    submit request = given.generation.request;
    request.messages_json = messages.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    const auto answer = place.generate_and_print(request);
    if (!interactive || answer.exit_code != exit_ok) return answer.exit_code;
    messages.push_back({{"role", "assistant"}, {"content", answer.text}});
  }
}

}  // namespace

void add_chat(CLI::App& parser, chosen_command& chosen) {
  auto given = std::make_shared<chat_options>();
  auto* command = parser.add_subcommand("chat",
                                        "Answer a message (MESSAGE, or standard input); on a "
                                        "terminal without MESSAGE, hold a conversation");
  auto* text = command->add_option("MESSAGE", given->message, "what the user says");
  command->add_option("--system", given->system, "the system message");
  add_generation_flags(*command, given->generation);
  command->callback([given, text, &chosen] {
    const bool interactive = text->count() == 0 && ::isatty(STDIN_FILENO) == 1;
    if (text->count() == 0 && !interactive)
      given->message.assign(std::istreambuf_iterator<char>(std::cin), {});
    chosen = [given, interactive] { return converse(*given, interactive); };
  });
}

}  // namespace troupe::cli
