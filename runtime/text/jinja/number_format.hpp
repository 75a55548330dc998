// The layout of numbers and texts in fields, for str.format and the % operator.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/text/jinja/value.hpp"

namespace troupe::jinja {

/// [[fill]align][sign][#][0][width][grouping][.precision][type]
struct format_spec {
  std::string fill = " ";
  char align = 0;  ///< '<', '>', '=', '^', or 0 for the type's default
  char sign = '-';
  bool is_alternate = false;
  std::int64_t width = 0;
  char grouping = 0;  ///< ',', '_' or 0
  std::int64_t precision = -1;
  char type = 0;
};

/// Throws failure for what is no specification.
[[nodiscard]] format_spec parse_format_spec(std::string_view text);

/// Throws failure where the type does not fit the value.
[[nodiscard]] std::string format_text(const format_spec& spec, const text& item);
[[nodiscard]] std::string format_number(const format_spec& spec, const value& item);

/// The digits of a finite or infinite float without sign, as C's %e, %f or %g write them.
[[nodiscard]] std::string float_digits(double magnitude, char type, std::int64_t precision,
                                       bool is_alternate);

}  // namespace troupe::jinja
