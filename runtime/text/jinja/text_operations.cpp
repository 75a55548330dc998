// Stripping, splitting and replacing.
#include "runtime/text/jinja/text_operations.hpp"

#include <algorithm>

#include "runtime/text/jinja/unicode.hpp"

namespace troupe::jinja {
namespace {

bool is_line_break(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

bool is_any_of(std::string_view chars, char32_t wanted) {
  for (std::size_t i = 0; i < chars.size();)
    if (next_code_point(chars, i) == wanted) return true;
  return false;
}

bool reached(std::int64_t limit, std::size_t count) {
  return limit >= 0 && count >= static_cast<std::size_t>(limit);
}

}  // namespace

std::string_view strip(std::string_view text, std::optional<std::string_view> chars, bool left,
                       bool right) {
  if (!chars) {
    if (left) text = strip_left(text);
    return right ? strip_right(text) : text;
  }
  while (left && !text.empty()) {
    std::size_t after = 0;
    if (!is_any_of(*chars, next_code_point(text, after))) break;
    text.remove_prefix(after);
  }
  while (right && !text.empty()) {
    const std::size_t start = previous_start(text, text.size());
    std::size_t position = start;
    if (!is_any_of(*chars, next_code_point(text, position))) break;
    text = text.substr(0, start);
  }
  return text;
}

std::vector<std::string> split_lines(std::string_view text, bool keeps_ends) {
  std::vector<std::string> lines;
  std::size_t start = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t at = i;
    const char32_t c = next_code_point(text, i);
    if (!is_line_break(c)) continue;
    if (c == U'\r' && i < text.size() && text[i] == '\n') ++i;
    lines.emplace_back(text.substr(start, (keeps_ends ? i : at) - start));
    start = i;
  }
  if (start < text.size()) lines.emplace_back(text.substr(start));
  return lines;
}

std::vector<std::string> split_space(std::string_view text, std::int64_t limit) {
  std::vector<std::string> parts;
  text = strip_left(text);
  while (!text.empty()) {
    if (reached(limit, parts.size())) {
      parts.emplace_back(text);
      break;
    }
    std::size_t end = 0;
    while (end < text.size()) {
      std::size_t after = end;
      if (is_space(next_code_point(text, after))) break;
      end = after;
    }
    parts.emplace_back(text.substr(0, end));
    text = strip_left(text.substr(end));
  }
  return parts;
}

std::vector<std::string> split_space_right(std::string_view text, std::int64_t limit) {
  std::vector<std::string> parts;
  text = strip_right(text);
  while (!text.empty()) {
    if (reached(limit, parts.size())) {
      parts.emplace_back(text);
      break;
    }
    std::size_t start = text.size();
    while (start > 0) {
      const std::size_t before = previous_start(text, start);
      std::size_t position = before;
      if (is_space(next_code_point(text, position))) break;
      start = before;
    }
    parts.emplace_back(text.substr(start));
    text = strip_right(text.substr(0, start));
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> split_on(std::string_view text, std::string_view separator,
                                  std::int64_t limit) {
  std::vector<std::string> parts;
  while (!reached(limit, parts.size())) {
    const std::size_t found = text.find(separator);
    if (found == std::string_view::npos) break;
    parts.emplace_back(text.substr(0, found));
    text.remove_prefix(found + separator.size());
  }
  parts.emplace_back(text);
  return parts;
}

std::vector<std::string> split_on_right(std::string_view text, std::string_view separator,
                                        std::int64_t limit) {
  std::vector<std::string> parts;
  while (!reached(limit, parts.size())) {
    const std::size_t found = text.rfind(separator);
    if (found == std::string_view::npos) break;
    parts.emplace_back(text.substr(found + separator.size()));
    text = text.substr(0, found);
  }
  parts.emplace_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::uint64_t count_occurrences(std::string_view text, std::string_view wanted) {
  if (wanted.empty()) return code_point_count(text) + 1;
  std::uint64_t count = 0;
  for (std::size_t at = text.find(wanted); at != std::string_view::npos;
       at = text.find(wanted, at + wanted.size()))
    ++count;
  return count;
}

std::string replace_text(std::string_view text, std::string_view wanted,
                         std::string_view replacement, std::int64_t limit) {
  std::string out;
  std::size_t done = 0;
  std::size_t position = 0;
  while (!reached(limit, done)) {
    if (wanted.empty()) {
      out += replacement;
      ++done;
      if (position >= text.size()) break;
      const std::size_t start = position;
      (void)next_code_point(text, position);
      out += text.substr(start, position - start);
      continue;
    }
    const std::size_t found = text.find(wanted, position);
    if (found == std::string_view::npos) break;
    out += text.substr(position, found - position);
    out += replacement;
    position = found + wanted.size();
    ++done;
  }
  if (position < text.size()) out += text.substr(position);
  return out;
}

}  // namespace troupe::jinja
