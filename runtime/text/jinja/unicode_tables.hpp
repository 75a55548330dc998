// Tables behind unicode.cpp; the data file is generated (scripts/generate_unicode_tables.py).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace troupe::jinja::tables {

struct code_point_range {
  char32_t first, last;
};

/// Every `stride`-th code point of [first, last] maps to itself plus delta.
struct case_run {
  char32_t first, last;
  std::uint32_t stride;
  std::int32_t delta;
};

/// A mapping to more than one code point, or one that differs from the simple table.
struct special_case {
  char32_t from;
  std::string_view to;
};

extern const std::span<const code_point_range> not_printable, alphabetic, decimal, digit, numeric,
    upper_case, lower_case;
extern const std::span<const case_run> to_upper, to_lower;
extern const std::span<const special_case> to_upper_special, to_lower_special, to_title_special;

}  // namespace troupe::jinja::tables
