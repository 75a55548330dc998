// Names, numbers, strings and operators inside of a tag.
#include "runtime/text/jinja/tag_lexer.hpp"

#include <algorithm>
#include <array>

#include "runtime/text/jinja/unicode.hpp"
#include "runtime/text/jinja/value.hpp"

namespace troupe::jinja {
namespace {

bool is_ascii_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_word(char32_t c) {
  return c == U'_' || is_alphabetic(c) || is_numeric(c);
}

bool in_base(char c, char base) {
  switch (base) {
    case 'b': return c == '0' || c == '1';
    case 'o': return c >= '0' && c <= '7';
    default: return is_ascii_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  }
}

}  // namespace

tag_close tag_lexer::run(std::vector<token>& tokens) {
  tag_close close;
  while (true) {
    skip_space();
    if (open_brackets_.empty() && at_close(close)) {
      tokens.push_back({is_block_ ? token_kind::block_end : token_kind::variable_end, {}, line_});
      close.line = line_;
      return close;
    }
    if (position_ >= source_.size()) {
      // The parser reports the missing end, with the tag that it belongs to.
      close.position = source_.size();
      throw failure{"the template ends inside of a tag", line_};
    }
    tokens.push_back(next());
  }
}

bool tag_lexer::at_close(tag_close& close) const {
  const std::string_view rest = source_.substr(position_);
  const std::string_view delimiter = is_block_ ? "%}" : "}}";
  if (rest.starts_with(delimiter)) {
    close = {position_, 0, line_};
    return true;
  }
  const bool is_signed = at(position_) == '-' || (is_block_ && at(position_) == '+');
  if (!is_signed || !rest.substr(1).starts_with(delimiter)) return false;
  close = {position_ + 1, at(position_), line_};
  return true;
}

void tag_lexer::skip_space() {
  const std::string_view rest = source_.substr(position_);
  const std::size_t length = rest.size() - strip_left(rest).size();
  line_ += static_cast<int>(
      std::count(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(length), '\n'));
  position_ += length;
}

token tag_lexer::next() {
  if (const std::size_t length = float_length(); length > 0) return lex_number(length, true);
  if (const std::size_t length = integer_length(); length > 0) return lex_number(length, false);
  std::size_t after = position_;
  if (is_word(next_code_point(source_, after))) return lex_name();
  const char c = at(position_);
  if (c == '\'' || c == '"') return lex_string(c);
  return lex_symbol();
}

// The length of digits that single underscores may group, from a position on; 0 if there are none.
std::size_t tag_lexer::digits(std::size_t from) const {
  std::size_t end = from;
  while (is_ascii_digit(at(end)) || (at(end) == '_' && end > from && is_ascii_digit(at(end - 1)) &&
                                     is_ascii_digit(at(end + 1))))
    ++end;
  return end - from;
}

std::size_t tag_lexer::float_length() const {
  if (position_ > 0 && source_[position_ - 1] == '.') return 0;
  const std::size_t whole = digits(position_);
  if (whole == 0) return 0;
  std::size_t end = position_ + whole;
  std::size_t fraction = 0;
  if (at(end) == '.') {
    fraction = digits(end + 1);
    if (fraction > 0) end += 1 + fraction;
  }
  if (at(end) == 'e' || at(end) == 'E') {
    const std::size_t sign = at(end + 1) == '+' || at(end + 1) == '-' ? 1 : 0;
    const std::size_t exponent = digits(end + 1 + sign);
    if (exponent > 0) return end + 1 + sign + exponent - position_;
  }
  return fraction > 0 ? end - position_ : 0;
}

std::size_t tag_lexer::integer_length() const {
  const char first = at(position_);
  if (!is_ascii_digit(first)) return 0;
  if (first == '0') {
    const char base = static_cast<char>(at(position_ + 1) | 0x20);
    if (base == 'b' || base == 'o' || base == 'x') {
      std::size_t end = position_ + 2;
      while (in_base(at(end), base) || (at(end) == '_' && in_base(at(end + 1), base))) ++end;
      if (end > position_ + 2) return end - position_;
    }
    std::size_t end = position_ + 1;
    while (at(end) == '0' || (at(end) == '_' && at(end + 1) == '0')) ++end;
    return end - position_;
  }
  return digits(position_);
}

token tag_lexer::lex_number(std::size_t length, bool is_float) {
  std::string text(source_.substr(position_, length));
  std::erase(text, '_');
  position_ += length;
  return {is_float ? token_kind::floating : token_kind::integer, std::move(text), line_};
}

token tag_lexer::lex_name() {
  const std::size_t start = position_;
  while (position_ < source_.size()) {
    std::size_t after = position_;
    if (!is_word(next_code_point(source_, after))) break;
    position_ = after;
  }
  std::string name(source_.substr(start, position_ - start));
  std::size_t first = 0;
  const char32_t c = next_code_point(name, first);
  if (c != U'_' && !is_alphabetic(c)) throw failure{"Invalid character in identifier", line_};
  return {token_kind::name, std::move(name), line_};
}

token tag_lexer::lex_string(char quote) {
  const int line = line_;
  std::size_t end = position_ + 1;
  while (at(end) != quote) {
    if (end >= source_.size()) throw failure{"a string is not closed", line};
    end += at(end) == '\\' ? 2 : 1;
  }
  const std::string_view literal = source_.substr(position_ + 1, end - position_ - 1);
  line_ += static_cast<int>(std::count(literal.begin(), literal.end(), '\n'));
  position_ = end + 1;
  try {
    return {token_kind::string, unescape(literal), line};
  } catch (failure& problem) {
    problem.line = line;
    throw;
  }
}

token tag_lexer::lex_symbol() {
  constexpr std::array<std::string_view, 26> symbols = {
      "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
      "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
  const std::string_view rest = source_.substr(position_);
  const auto found = std::find_if(symbols.begin(), symbols.end(), [&](std::string_view symbol) {
    return rest.starts_with(symbol);
  });
  if (found == symbols.end()) {
    std::size_t after = 0;
    (void)next_code_point(rest, after);
    throw failure{"unexpected char '" + std::string(rest.substr(0, after)) + "'", line_};
  }
  const std::string symbol(*found);
  if (symbol == "(") open_brackets_ += ')';
  if (symbol == "[") open_brackets_ += ']';
  if (symbol == "{") open_brackets_ += '}';
  if (symbol == ")" || symbol == "]" || symbol == "}") {
    if (open_brackets_.empty()) throw failure{"unexpected '" + symbol + "'", line_};
    if (open_brackets_.back() != symbol[0])
      throw failure{"unexpected '" + symbol + "', expected '" + open_brackets_.back() + "'", line_};
    open_brackets_.pop_back();
  }
  position_ += symbol.size();
  return {token_kind::symbol, symbol, line_};
}

}  // namespace troupe::jinja
