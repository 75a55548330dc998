// The inner level of the lexer: what stands between the delimiters of one tag.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/jinja/lexer.hpp"

namespace troupe::jinja {

/// Where a tag ends: the position of its two-byte closing delimiter, and the sign before it.
struct tag_close {
  std::size_t position = 0;
  char sign = 0;
  int line = 0;
};

class tag_lexer {
 public:
  tag_lexer(std::string_view source, std::size_t position, int line, bool is_block)
      : source_(source), position_(position), line_(line), is_block_(is_block) {}

  /// Appends the tag's tokens, its end token included. Throws failure.
  tag_close run(std::vector<token>& tokens);

 private:
  [[nodiscard]] bool at_close(tag_close& close) const;
  token next();
  token lex_number(std::size_t length, bool is_float);
  token lex_string(char quote);
  token lex_name();
  token lex_symbol();
  void skip_space();
  [[nodiscard]] std::size_t float_length() const;
  [[nodiscard]] std::size_t integer_length() const;
  [[nodiscard]] std::size_t digits(std::size_t from) const;
  [[nodiscard]] char at(std::size_t position) const {
    return position < source_.size() ? source_[position] : '\0';
  }

  std::string_view source_;
  std::size_t position_;
  int line_;
  bool is_block_;
  std::string open_brackets_;  ///< the closing brackets that are due, innermost last
};

/// Python's escapes in the text between a literal's quotes. Throws failure without a line.
[[nodiscard]] std::string unescape(std::string_view literal);

}  // namespace troupe::jinja
