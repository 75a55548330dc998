// JSON from outside, bounded before it is parsed, and JSON written without building a tree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "kernels/base/result.hpp"

namespace troupe {

/// Bytes, depth, elements and keys within limits.hpp, counted in one pass over the text that
/// allocates nothing. It is no syntax check.
result<void> check_json_bounds(std::string_view text);

/// One JSON value with its keys in order. Errors: invalid_argument, with the place; also for text
/// that is not UTF-8, escaped lone surrogates and numbers that no double holds.
result<nlohmann::ordered_json> parse_json(std::string_view text);

/// A quoted JSON string. Bytes that are not UTF-8 become U+FFFD.
void append_json_string(std::string& out, std::string_view text);
/// The shortest text that reads back as the same double; a value that is not finite becomes null.
void append_json_number(std::string& out, double value);
void append_json_number(std::string& out, std::int64_t value);
void append_json_number(std::string& out, std::uint64_t value);

}  // namespace troupe
