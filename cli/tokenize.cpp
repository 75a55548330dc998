// `troupe tokenize`: text to token ids and back, with a model file and no server.
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "runtime/text/tokenizer.hpp"

namespace troupe::cli {

namespace {

struct tokenize_options {
  std::string model, text;
  bool has_text = false, special = false, bare = false, pieces = false, decode = false;
};

int print_decoded(const tokenizer& tokens, const std::string& text) {
  std::vector<token_id> ids;
  const char* at = text.c_str();
  for (;;) {
    while (*at == ' ' || *at == '\n' || *at == '\t' || *at == ',' || *at == '[' || *at == ']') ++at;
    if (*at == '\0') break;
    char* end = nullptr;
    const long id = std::strtol(at, &end, 10);
    if (end == at || id < 0 || static_cast<std::size_t>(id) >= tokens.vocab_size()) {
      std::fprintf(stderr, "troupe: not a token id of this model (0 to %zu): %.20s\n",
                   tokens.vocab_size() - 1, at);
      return exit_usage;
    }
    ids.push_back(static_cast<token_id>(id));
    at = end;
  }
  std::fputs(tokens.decode(ids, false).c_str(), stdout);
  std::fputc('\n', stdout);
  return exit_ok;
}

int tokenize(const tokenize_options& given) {
  auto file = gguf_file::open(given.model);
  auto tokens = file ? tokenizer::from_gguf(*file) : std::move(file).failure();
  if (!tokens) {
    std::fprintf(stderr, "troupe: %s\n", tokens.failure().message.c_str());
    return exit_code_of(tokens.failure());
  }
  const std::string text =
      given.has_text ? given.text : std::string(std::istreambuf_iterator<char>(std::cin), {});
  if (given.decode) return print_decoded(**tokens, text);
  const auto ids =
      (*tokens)->encode(text, {.parse_special = given.special, .add_special = !given.bare});
  std::string line;
  for (const token_id id : ids) {
    if (given.pieces)
      fmt::print("{:>7}  {}\n", to_index(id), (*tokens)->decode(std::span(&id, 1), false));
    else
      line += fmt::format("{}{}", line.empty() ? "" : " ", to_index(id));
  }
  if (!given.pieces) fmt::print("{}\n", line);
  return exit_ok;
}

}  // namespace

void add_tokenize(CLI::App& parser, chosen_command& chosen) {
  auto given = std::make_shared<tokenize_options>();
  auto* command =
      parser.add_subcommand("tokenize", "Print the token ids of a text (TEXT, or standard input)");
  command->add_option("--model,-m", given->model, "a GGUF file")->required();
  auto* text = command->add_option("TEXT", given->text, "the text, or with --decode the ids");
  command->add_flag("--special", given->special, "texts of special tokens become those tokens");
  command->add_flag("--no-add-special", given->bare,
                    "do not add the tokens that the model puts around a text");
  command->add_flag("--pieces", given->pieces, "one token a line, with its text");
  command->add_flag("--decode", given->decode, "the other way: ids to text");
  command->callback([given, text, &chosen] {
    given->has_text = text->count() != 0;
    chosen = [given] { return tokenize(*given); };
  });
}

}  // namespace troupe::cli
