// Lets a test outside of C++ use the tokenizer. Arguments: MODEL.gguf and the flags
// --parse-special,
// --add-special, --decode. Input: texts, each a 32-bit little-endian length and that many bytes.
// Output per text: one line of ids. With --decode the input is one line of ids per text, and the
// output length-prefixed text, first with and then without special tokens.
#include <cstdint>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/model/gguf.hpp"
#include "runtime/text/tokenizer.hpp"

namespace {

void write_text(const std::string& text) {
  const auto length = static_cast<std::uint32_t>(text.size());
  char bytes[4];
  std::memcpy(bytes, &length, 4);
  std::cout.write(bytes, 4).write(text.data(), static_cast<std::streamsize>(text.size()));
}

void encode_all(const troupe::tokenizer& tokens, troupe::tokenizer::encode_options options) {
  char bytes[4];
  while (std::cin.read(bytes, 4)) {
    std::uint32_t length;
    std::memcpy(&length, bytes, 4);
    std::string text(length, '\0');
    std::cin.read(text.data(), length);
    std::string line;
    for (const auto id : tokens.encode(text, options)) {
      line += std::to_string(static_cast<std::int32_t>(id));
      line += ' ';
    }
    std::cout << line << '\n';
  }
}

void decode_all(const troupe::tokenizer& tokens) {
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream numbers(line);
    std::vector<troupe::token_id> ids;
    for (std::int32_t id; numbers >> id;) ids.push_back(static_cast<troupe::token_id>(id));
    write_text(tokens.decode(ids, false));
    write_text(tokens.decode(ids, true));
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  if (argc < 2) {
    std::cerr << "usage: tokenize_lines MODEL.gguf [--parse-special] [--add-special] [--decode]\n";
    return 2;
  }
  troupe::tokenizer::encode_options options{.parse_special = false, .add_special = false};
  bool decode = false;
  for (int i = 2; i < argc; ++i) {
    const std::string_view flag = argv[i];
    options.parse_special = options.parse_special || flag == "--parse-special";
    options.add_special = options.add_special || flag == "--add-special";
    decode = decode || flag == "--decode";
  }
  const auto file = troupe::gguf_file::open(argv[1]);
  if (!file) {
    std::cerr << file.failure().message << '\n';
    return 1;
  }
  const auto tokens = troupe::tokenizer::from_gguf(*file);
  if (!tokens) {
    std::cerr << tokens.failure().message << '\n';
    return 1;
  }
  if (decode) {
    decode_all(**tokens);
  } else {
    encode_all(**tokens, options);
  }
  return 0;
}
