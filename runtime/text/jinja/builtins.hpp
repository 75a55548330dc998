// The tables of filters, tests, methods and global functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/text/jinja/syntax.hpp"
#include "runtime/text/jinja/value.hpp"

namespace troupe::jinja {

/// Null for an unknown name.
[[nodiscard]] filter_function find_filter(std::string_view name);
[[nodiscard]] test_function find_test(std::string_view name);

/// A global such as range or namespace.
[[nodiscard]] std::optional<value> find_global(std::string_view name);

/// The method bound to its owner, or undefined for what the sandbox forbids; nullopt if values of
/// this type have no such attribute.
[[nodiscard]] std::optional<value> find_string_method(const value& owner, std::string_view name);
[[nodiscard]] std::optional<value> find_container_method(const value& owner, std::string_view name);

// The filters, by file. Each takes the value left of the bar.
namespace filters {
using signature = value(interpreter&, const value&, arguments);
// filters_text.cpp
signature capitalize, center, escape, format, indent, join, lower, replace, safe, string, title,
    to_json_filter, trim, truncate, upper, wordcount;
// filters_number.cpp
signature absolute, floating, integer, round, sum;
// filters_sequence.cpp
signature attr, batch, default_value, first, items, last, length, list, reverse, slice;
// filters_order.cpp
signature dictsort, groupby, maximum, minimum, sort, unique;
// filters_select.cpp
signature map, reject, reject_attribute, select, select_attribute;
}  // namespace filters

/// Python's `template % args`. Throws failure.
[[nodiscard]] value format_percent(interpreter& run, const value& pattern, const value& args);
/// Python's str.format. Throws failure.
[[nodiscard]] value format_braces(interpreter& run, const value& pattern, const arguments& args);
/// Python's format(item, spec). Throws failure.
[[nodiscard]] std::string format_value(interpreter& run, const value& item, std::string_view spec);

/// &, <, >, ' and " as HTML entities.
[[nodiscard]] std::string escape_html(std::string_view text);

/// Python's int(text, base) and float(text); nullopt where Python raises ValueError.
[[nodiscard]] std::optional<std::int64_t> parse_integer(std::string_view text, int base);
[[nodiscard]] std::optional<double> parse_float(std::string_view text);

}  // namespace troupe::jinja
