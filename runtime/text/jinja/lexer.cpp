// The outer level of the lexer: text, comments, raw blocks and the edges of tags.
#include "runtime/text/jinja/lexer.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>

#include "runtime/text/jinja/tag_lexer.hpp"
#include "runtime/text/jinja/unicode.hpp"
#include "runtime/text/jinja/value.hpp"

namespace troupe::jinja {
namespace {

// "\r\n" and "\r" become "\n", and one newline at the very end goes.
std::string normalize(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class template_lexer {
 public:
  explicit template_lexer(std::string_view source) : source_(source) {}

  std::vector<token> run() {
    while (position_ < source_.size()) {
      const std::size_t open = find_open();
      if (open == std::string_view::npos) {
        push_data(source_.substr(position_));
        break;
      }
      lex_at(open);
    }
    tokens_.push_back({token_kind::end, {}, line_});
    return std::move(tokens_);
  }

 private:
  [[nodiscard]] std::size_t find_open() const {
    for (std::size_t i = position_; i + 1 < source_.size(); ++i)
      if (source_[i] == '{' &&
          (source_[i + 1] == '{' || source_[i + 1] == '%' || source_[i + 1] == '#'))
        return i;
    return std::string_view::npos;
  }

  void lex_at(std::size_t open) {
    const std::string_view data = source_.substr(position_, open - position_);
    const char type = source_[open + 1];
    std::size_t after = open + 2;
    char sign = 0;
    if (after < source_.size() && (source_[after] == '-' || source_[after] == '+'))
      sign = source_[after++];
    push_data(strip_before(data, sign, type == '{'));
    line_ += newlines(data);
    position_ = open;
    if (type == '#') {
      lex_comment(after);
    } else if (const auto body = type == '%' ? raw_body(after) : std::nullopt) {
      lex_raw(*body);
    } else {
      lex_tag(after, type == '%');
    }
  }

  // The text before a tag, without what the tag's sign or lstrip_blocks takes from it.
  [[nodiscard]] std::string_view strip_before(std::string_view data, char sign,
                                              bool is_variable) const {
    if (sign == '-') return strip_right(data);
    if (sign == '+' || is_variable) return data;
    const std::size_t newline = data.rfind('\n');
    const std::size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
    if (line_start == 0 && !at_line_start_) return data;
    const std::string_view indentation = data.substr(line_start);
    return strip_right(indentation).empty() ? data.substr(0, line_start) : data;
  }

  void push_data(std::string_view data) {
    if (data.empty()) return;
    tokens_.push_back({token_kind::data, std::string(data), line_});
  }

  static int newlines(std::string_view text) {
    return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  }

  void advance_to(std::size_t position) {
    line_ += newlines(source_.substr(position_, position - position_));
    at_line_start_ = position > 0 && source_[position - 1] == '\n';
    position_ = position;
  }

  // Where the text goes on behind a closing delimiter of two bytes at `close`, which may have a
  // sign.
  [[nodiscard]] std::size_t after_close(std::size_t close, char sign) const {
    std::size_t position = close + 2;
    if (sign == '-') {
      const std::string_view rest = source_.substr(position);
      return position + (rest.size() - strip_left(rest).size());
    }
    if (sign == 0 && position < source_.size() && source_[position] == '\n') ++position;
    return position;
  }

  void lex_comment(std::size_t start) {
    const std::size_t close = source_.find("#}", start);
    if (close == std::string_view::npos) throw failure{"Missing end of comment tag", line_};
    const char before = close > start ? source_[close - 1] : 0;
    const char sign = before == '-' || before == '+' ? before : char{0};
    position_ = start;
    advance_to(after_close(close, sign));
  }

  // Behind "{% raw %}", if that is what stands behind "{%" and its sign.
  [[nodiscard]] std::optional<std::size_t> raw_body(std::size_t start) const {
    std::string_view rest = strip_left(source_.substr(start));
    if (!rest.starts_with("raw")) return std::nullopt;
    rest = strip_left(rest.substr(3));
    if (rest.starts_with("%}")) return source_.size() - rest.size() + 2;
    if (!rest.starts_with("-%}")) return std::nullopt;
    return source_.size() - strip_left(rest.substr(3)).size();
  }

  void lex_raw(std::size_t body) {
    advance_to(body);
    for (std::size_t open = source_.find("{%", body); open != std::string_view::npos;
         open = source_.find("{%", open + 1)) {
      std::size_t after = open + 2;
      char sign = 0;
      if (after < source_.size() && (source_[after] == '-' || source_[after] == '+'))
        sign = source_[after++];
      std::string_view rest = strip_left(source_.substr(after));
      if (!rest.starts_with("endraw")) continue;
      rest = strip_left(rest.substr(6));
      const char close_sign = rest.starts_with("-%}")   ? '-'
                              : rest.starts_with("+%}") ? '+'
                                                        : char{0};
      if (close_sign == 0 && !rest.starts_with("%}")) continue;
      push_data(strip_before(source_.substr(body, open - body), sign, false));
      const std::size_t close = source_.size() - rest.size() + (close_sign != 0 ? 1 : 0);
      advance_to(after_close(close, close_sign));
      return;
    }
    throw failure{"Missing end of raw directive", line_};
  }

  void lex_tag(std::size_t start, bool is_block) {
    tokens_.push_back({is_block ? token_kind::block_begin : token_kind::variable_begin, {}, line_});
    advance_to(start);
    tag_lexer inside(source_, position_, line_, is_block);
    const tag_close close = inside.run(tokens_);
    line_ = close.line;
    position_ = close.position;
    // A variable's end keeps the newline behind it, a block's does not.
    const std::size_t after = is_block || close.sign == '-'
                                  ? after_close(close.position, close.sign)
                                  : close.position + 2;
    advance_to(after);
  }

  std::string_view source_;
  std::size_t position_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;
  std::vector<token> tokens_;
};

}  // namespace

std::vector<token> tokenize(std::string_view source) {
  const std::string normalized = normalize(source);
  return template_lexer(normalized).run();
}

}  // namespace troupe::jinja
