// UTF-8 and the parts of Python's str that depend on Unicode data. All text in the interpreter is
// valid UTF-8; lengths and indices that a template sees count code points.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace troupe::jinja {

[[nodiscard]] bool is_valid_utf8(std::string_view bytes);

/// Decodes the code point at `position` and moves position behind it. Requires valid UTF-8.
char32_t next_code_point(std::string_view text, std::size_t& position);

/// The start of the code point that ends just before `position`.
[[nodiscard]] std::size_t previous_start(std::string_view text, std::size_t position);

void append_utf8(std::string& out, char32_t code_point);

[[nodiscard]] std::size_t code_point_count(std::string_view text);

[[nodiscard]] bool is_space(char32_t c);
[[nodiscard]] bool is_printable(char32_t c);
[[nodiscard]] bool is_alphabetic(char32_t c);
[[nodiscard]] bool is_decimal(char32_t c);
[[nodiscard]] bool is_digit(char32_t c);
[[nodiscard]] bool is_numeric(char32_t c);
[[nodiscard]] bool is_upper(char32_t c);
[[nodiscard]] bool is_lower(char32_t c);

[[nodiscard]] std::string to_upper(std::string_view text);
[[nodiscard]] std::string to_lower(std::string_view text);
/// str.title(): each letter that follows a non-letter in title case, the others in lower case.
[[nodiscard]] std::string to_title(std::string_view text);
[[nodiscard]] std::string capitalize(std::string_view text);
[[nodiscard]] std::string swap_case(std::string_view text);

/// Python's whitespace trimmed from either side.
[[nodiscard]] std::string_view strip_left(std::string_view text);
[[nodiscard]] std::string_view strip_right(std::string_view text);

}  // namespace troupe::jinja
