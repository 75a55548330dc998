// UTF-8 decoding and case mapping. The tables follow the Unicode version of Python 3.11.
#include "runtime/text/jinja/unicode.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "runtime/text/jinja/unicode_tables.hpp"

namespace troupe::jinja {
namespace {

bool contains(std::span<const tables::code_point_range> ranges, char32_t c) {
  const auto found = std::partition_point(ranges.begin(), ranges.end(),
                                          [c](const auto& range) { return range.last < c; });
  return found != ranges.end() && found->first <= c;
}

char32_t map_simple(std::span<const tables::case_run> runs, char32_t c) {
  const auto found =
      std::partition_point(runs.begin(), runs.end(), [c](const auto& run) { return run.last < c; });
  if (found == runs.end() || c < found->first || (c - found->first) % found->stride != 0) return c;
  return static_cast<char32_t>(static_cast<std::int64_t>(c) + found->delta);
}

std::optional<std::string_view> map_special(std::span<const tables::special_case> rows,
                                            char32_t c) {
  const auto found =
      std::partition_point(rows.begin(), rows.end(), [c](const auto& row) { return row.from < c; });
  if (found == rows.end() || found->from != c) return std::nullopt;
  return found->to;
}

void append_upper(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  } else if (const auto special = map_special(tables::to_upper_special, c)) {
    out += *special;
  } else {
    append_utf8(out, map_simple(tables::to_upper, c));
  }
}

void append_title(std::string& out, char32_t c) {
  if (const auto special = map_special(tables::to_title_special, c)) {
    out += *special;
  } else {
    append_upper(out, c);
  }
}

bool is_cased(char32_t c) {
  return is_upper(c) || is_lower(c);
}

constexpr char32_t capital_sigma = 0x3A3;
constexpr char32_t small_sigma = 0x3C3;
constexpr char32_t final_sigma = 0x3C2;

// Greek capital sigma becomes a final sigma behind a letter at the end of a word.
char32_t lower_sigma(std::string_view text, std::size_t start, std::size_t end) {
  bool before = false;
  bool after = false;
  if (start > 0) {
    std::size_t position = previous_start(text, start);
    before = is_cased(next_code_point(text, position));
  }
  if (end < text.size()) after = is_cased(next_code_point(text, end));
  return before && !after ? final_sigma : small_sigma;
}

// The code point in text[start, end) in lower case.
void append_lower(std::string& out, std::string_view text, char32_t c, std::size_t start,
                  std::size_t end) {
  if (c < 0x80) {
    out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  } else if (c == capital_sigma) {
    append_utf8(out, lower_sigma(text, start, end));
  } else if (const auto special = map_special(tables::to_lower_special, c)) {
    out += *special;
  } else {
    append_utf8(out, map_simple(tables::to_lower, c));
  }
}

}  // namespace

bool is_valid_utf8(std::string_view bytes) {
  const auto continues = [&](std::size_t at) {
    return at < bytes.size() && (static_cast<unsigned char>(bytes[at]) & 0xC0u) == 0x80u;
  };
  for (std::size_t i = 0; i < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xC2 ? 0
                               : lead < 0xE0 ? 2
                               : lead < 0xF0 ? 3
                               : lead < 0xF5 ? 4
                                             : 0;
    if (length == 0) return false;
    for (std::size_t k = 1; k < length; ++k)
      if (!continues(i + k)) return false;
    if (length >= 3) {
      std::size_t position = i;
      const char32_t c = next_code_point(bytes, position);
      const bool overlong = c < (length == 3 ? 0x800u : 0x10000u);
      if (overlong || (c >= 0xD800 && c <= 0xDFFF) || c > 0x10FFFF) return false;
    }
    i += length;
  }
  return true;
}

char32_t next_code_point(std::string_view text, std::size_t& position) {
  const auto byte = [&](std::size_t at) {
    return at < text.size() ? static_cast<char32_t>(static_cast<unsigned char>(text[at])) : 0u;
  };
  const char32_t lead = byte(position);
  if (lead < 0x80) {
    position += 1;
    return lead;
  }
  if (lead < 0xE0) {
    const char32_t c = ((lead & 0x1Fu) << 6) | (byte(position + 1) & 0x3Fu);
    position += 2;
    return c;
  }
  if (lead < 0xF0) {
    const char32_t c =
        ((lead & 0x0Fu) << 12) | ((byte(position + 1) & 0x3Fu) << 6) | (byte(position + 2) & 0x3Fu);
    position += 3;
    return c;
  }
  const char32_t c = ((lead & 0x07u) << 18) | ((byte(position + 1) & 0x3Fu) << 12) |
                     ((byte(position + 2) & 0x3Fu) << 6) | (byte(position + 3) & 0x3Fu);
  position += 4;
  return c;
}

std::size_t previous_start(std::string_view text, std::size_t position) {
  --position;
  while (position > 0 && (static_cast<unsigned char>(text[position]) & 0xC0u) == 0x80u) --position;
  return position;
}

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0u | (c >> 6));
    out += static_cast<char>(0x80u | (c & 0x3Fu));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0u | (c >> 12));
    out += static_cast<char>(0x80u | ((c >> 6) & 0x3Fu));
    out += static_cast<char>(0x80u | (c & 0x3Fu));
  } else {
    out += static_cast<char>(0xF0u | (c >> 18));
    out += static_cast<char>(0x80u | ((c >> 12) & 0x3Fu));
    out += static_cast<char>(0x80u | ((c >> 6) & 0x3Fu));
    out += static_cast<char>(0x80u | (c & 0x3Fu));
  }
}

std::size_t code_point_count(std::string_view text) {
  std::size_t count = 0;
  for (const char byte : text) count += (static_cast<unsigned char>(byte) & 0xC0u) != 0x80u;
  return count;
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

bool is_printable(char32_t c) {
  return c < 0x80 ? c >= 0x20 && c < 0x7F : !contains(tables::not_printable, c);
}
bool is_alphabetic(char32_t c) {
  return c < 0x80 ? (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
                  : contains(tables::alphabetic, c);
}
bool is_decimal(char32_t c) {
  return c < 0x80 ? c >= '0' && c <= '9' : contains(tables::decimal, c);
}
bool is_digit(char32_t c) {
  return c < 0x80 ? c >= '0' && c <= '9' : contains(tables::digit, c);
}
bool is_numeric(char32_t c) {
  return c < 0x80 ? c >= '0' && c <= '9' : contains(tables::numeric, c);
}
bool is_upper(char32_t c) {
  return c < 0x80 ? c >= 'A' && c <= 'Z' : contains(tables::upper_case, c);
}
bool is_lower(char32_t c) {
  return c < 0x80 ? c >= 'a' && c <= 'z' : contains(tables::lower_case, c);
}

std::string to_upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) append_upper(out, next_code_point(text, i));
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t start = i;
    const char32_t c = next_code_point(text, i);
    append_lower(out, text, c, start, i);
  }
  return out;
}

std::string to_title(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_word = false;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t start = i;
    const char32_t c = next_code_point(text, i);
    if (in_word) {
      append_lower(out, text, c, start, i);
    } else {
      append_title(out, c);
    }
    in_word = is_cased(c);
  }
  return out;
}

std::string capitalize(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t start = i;
    const char32_t c = next_code_point(text, i);
    if (start == 0) {
      append_title(out, c);
    } else {
      append_lower(out, text, c, start, i);
    }
  }
  return out;
}

std::string swap_case(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t start = i;
    const char32_t c = next_code_point(text, i);
    if (is_upper(c)) {
      append_lower(out, text, c, start, i);
    } else if (is_lower(c)) {
      append_upper(out, c);
    } else {
      append_utf8(out, c);
    }
  }
  return out;
}

std::string_view strip_left(std::string_view text) {
  std::size_t start = 0;
  for (std::size_t i = 0; i < text.size(); start = i)
    if (!is_space(next_code_point(text, i))) break;
  return text.substr(start);
}

std::string_view strip_right(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    const std::size_t start = previous_start(text, end);
    std::size_t position = start;
    if (!is_space(next_code_point(text, position))) break;
    end = start;
  }
  return text.substr(0, end);
}

}  // namespace troupe::jinja
