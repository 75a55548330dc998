// In the patterns the first alternative that matches wins. Sorted by the first character's class
// only one or two alternatives can match, and that is how the functions below are cut.
#include "runtime/text/pre_tokenizer.hpp"

#include "runtime/text/unicode.hpp"
#include "runtime/text/utf8.hpp"

namespace troupe {
namespace {

struct scanned {
  char32_t code = 0;
  std::size_t end = 0;  // position after the character
  char_class kind = char_class::other;
};

scanned scan(std::string_view text, std::size_t position) {
  const utf8_char c = utf8_decode(text, position);
  return {c.code, position + c.length_bytes, classify(c.code)};
}

constexpr bool is_newline(char32_t code) {
  return code == '\r' || code == '\n';
}

std::size_t run_end(std::string_view text, std::size_t position, char_class kind) {
  while (position < text.size()) {
    const scanned c = scan(text, position);
    if (c.kind != kind) break;
    position = c.end;
  }
  return position;
}

// 's 't 're 've 'm 'll 'd after the apostrophe at `position`; `position` itself where there is
// none.
std::size_t contraction_end(std::string_view text, std::size_t position, bool any_case) {
  const std::string_view rest = text.substr(position + 1);
  const auto letter = [&](std::size_t i) -> char {
    if (i >= rest.size()) return '\0';
    return any_case && rest[i] >= 'A' && rest[i] <= 'Z' ? static_cast<char>(rest[i] - 'A' + 'a')
                                                        : rest[i];
  };
  switch (letter(0)) {
    case 's':
    case 't':
    case 'm':
    case 'd': return position + 2;
    case 'r':
    case 'v': return letter(1) == 'e' ? position + 3 : position;
    case 'l': return letter(1) == 'l' ? position + 3 : position;
    default: break;
  }
  // U+017F, the long s, is an s to a caseless match.
  if (any_case && rest.starts_with("\xC5\xBF")) return position + 3;
  return position;
}

struct whitespace_run {
  std::size_t end = 0;           // after the run
  std::size_t last_begin = 0;    // of its last character
  std::size_t newlines_end = 0;  // after its last \r or \n; 0 where it has none
};

whitespace_run scan_whitespace(std::string_view text, std::size_t position) {
  whitespace_run run{position, position, 0};
  while (run.end < text.size()) {
    const scanned c = scan(text, run.end);
    if (c.kind != char_class::whitespace) break;
    run.last_begin = run.end;
    run.end = c.end;
    if (is_newline(c.code)) run.newlines_end = c.end;
  }
  return run;
}

// \s+(?!\S)|\s+: the last space of a run stays with the word after it, unless the run is that
// space.
std::size_t whitespace_end(const whitespace_run& run, std::size_t position, std::size_t text_end) {
  return run.end == text_end || run.last_begin == position ? run.end : run.last_begin;
}

std::size_t gpt2_end(std::string_view text, std::size_t position) {
  const scanned first = scan(text, position);
  if (first.kind != char_class::whitespace) {
    if (first.code == '\'') {
      const std::size_t end = contraction_end(text, position, false);
      if (end != position) return end;
    }
    return run_end(text, first.end, first.kind);
  }
  if (first.code == ' ' && first.end < text.size()) {
    const scanned next = scan(text, first.end);
    if (next.kind != char_class::whitespace) return run_end(text, next.end, next.kind);
  }
  return whitespace_end(scan_whitespace(text, position), position, text.size());
}

std::size_t smollm_end(std::string_view text, std::size_t position) {
  const scanned first = scan(text, position);
  if (first.kind == char_class::number) return first.end;
  // Where the text ends only matters to whitespace: \s+(?!\S).
  if (first.kind == char_class::whitespace) {
    const std::size_t end = run_end(text, first.end, char_class::whitespace);
    if (end < text.size() && scan(text, end).kind == char_class::number) return end;
  }
  return gpt2_end(text, position);
}

std::size_t numbers_end(std::string_view text, std::size_t position, std::size_t count_max) {
  for (std::size_t count = 0; count < count_max && position < text.size(); ++count) {
    const scanned c = scan(text, position);
    if (c.kind != char_class::number) break;
    position = c.end;
  }
  return position;
}

// [^\s\p{L}\p{N}]+[\r\n]*
std::size_t others_end(std::string_view text, std::size_t position) {
  position = run_end(text, position, char_class::other);
  while (position < text.size() && is_newline(static_cast<unsigned char>(text[position]))) {
    ++position;
  }
  return position;
}

std::size_t llama3_end(std::string_view text, std::size_t position, std::size_t digits_max) {
  const scanned first = scan(text, position);
  if (first.kind == char_class::letter) return run_end(text, first.end, char_class::letter);
  if (first.kind == char_class::number) return numbers_end(text, position, digits_max);
  if (first.code == '\'') {
    const std::size_t end = contraction_end(text, position, true);
    if (end != position) return end;
  }
  const bool has_next = first.end < text.size();
  const scanned next = has_next ? scan(text, first.end) : scanned{};
  if (has_next && next.kind == char_class::letter && !is_newline(first.code)) {
    return run_end(text, next.end, char_class::letter);
  }
  if (first.kind == char_class::other) return others_end(text, first.end);
  if (has_next && first.code == ' ' && next.kind == char_class::other) {
    return others_end(text, next.end);
  }
  const whitespace_run run = scan_whitespace(text, position);
  if (run.newlines_end != 0) return run.newlines_end;
  return whitespace_end(run, position, text.size());
}

}  // namespace

std::size_t piece_end(split_rule rule, std::string_view text, std::size_t position) noexcept {
  switch (rule) {
    case split_rule::gpt2: return gpt2_end(text, position);
    case split_rule::smollm: return smollm_end(text, position);
    case split_rule::qwen2: return llama3_end(text, position, 1);
    case split_rule::llama3: return llama3_end(text, position, 3);
  }
  return text.size();
}

}  // namespace troupe
