// Python's str operations on UTF-8, shared by methods and filters. All indices are code points.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace troupe::jinja {

/// Without `chars`, whitespace; else any of the code points in it.
[[nodiscard]] std::string_view strip(std::string_view text, std::optional<std::string_view> chars,
                                     bool left, bool right);
/// Python's line boundaries: \n, \r, \r\n, \v, \f, \x1c to \x1e, \x85, U+2028 and U+2029.
[[nodiscard]] std::vector<std::string> split_lines(std::string_view text, bool keeps_ends);
/// limit < 0: no limit.
[[nodiscard]] std::vector<std::string> split_space(std::string_view text, std::int64_t limit);
[[nodiscard]] std::vector<std::string> split_space_right(std::string_view text, std::int64_t limit);
[[nodiscard]] std::vector<std::string> split_on(std::string_view text, std::string_view separator,
                                                std::int64_t limit);
[[nodiscard]] std::vector<std::string> split_on_right(std::string_view text,
                                                      std::string_view separator,
                                                      std::int64_t limit);
/// Occurrences that do not overlap; an empty one occurs between all code points.
[[nodiscard]] std::uint64_t count_occurrences(std::string_view text, std::string_view wanted);
[[nodiscard]] std::string replace_text(std::string_view text, std::string_view wanted,
                                       std::string_view replacement, std::int64_t limit);

}  // namespace troupe::jinja
