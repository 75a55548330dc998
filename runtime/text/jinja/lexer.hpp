// From template source to tokens, with Jinja's whitespace rules under trim_blocks and
// lstrip_blocks: a newline right after a block or comment goes, and so does the indentation before
// one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace troupe::jinja {

enum class token_kind : std::uint8_t {
  data,            ///< text outside of tags
  variable_begin,  ///< {{
  variable_end,
  block_begin,  ///< {%
  block_end,
  name,
  string,
  integer,
  floating,
  symbol,  ///< an operator or a bracket, spelled in text
  end
};

struct token {
  token_kind kind = token_kind::end;
  std::string text;  ///< a string's value, a name, the digits of a number, an operator
  int line = 0;
};

/// Ends with a token of kind `end`. Throws failure (with its line) for what is not lexical.
[[nodiscard]] std::vector<token> tokenize(std::string_view source);

}  // namespace troupe::jinja
