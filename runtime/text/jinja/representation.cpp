// Python's str() and repr(). Floats follow float.__repr__: the shortest digits that read back as
// the same number, in positional form for exponents from -4 to 15.
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "config/limits.hpp"
#include "runtime/text/jinja/unicode.hpp"
#include "runtime/text/jinja/value.hpp"

namespace troupe::jinja {
namespace {

void append_hex(std::string& out, char32_t c, int digits) {
  constexpr std::string_view hex = "0123456789abcdef";
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += hex[(c >> shift) & 0xFu];
}

std::string quoted(std::string_view bytes) {
  const bool has_single = bytes.find('\'') != std::string_view::npos;
  const bool has_double = bytes.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string out(1, quote);
  for (std::size_t i = 0; i < bytes.size();) {
    const char32_t c = next_code_point(bytes, i);
    if (c == static_cast<char32_t>(quote) || c == U'\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == U'\n') {
      out += "\\n";
    } else if (c == U'\r') {
      out += "\\r";
    } else if (c == U'\t') {
      out += "\\t";
    } else if (is_printable(c)) {
      append_utf8(out, c);
    } else if (c < 0x100) {
      out += "\\x";
      append_hex(out, c, 2);
    } else if (c < 0x10000) {
      out += "\\u";
      append_hex(out, c, 4);
    } else {
      out += "\\U";
      append_hex(out, c, 8);
    }
  }
  return out + quote;
}

std::string joined(const std::vector<value>& items, int depth) {
  std::string out;
  for (const value& item : items) {
    if (!out.empty()) out += ", ";
    out += representation(item, depth + 1);
    if (out.size() > limits::template_string_bytes_max) throw failure{"a text grows too large"};
  }
  return out;
}

std::string dict_text(const dictionary& entries, int depth) {
  std::string out = "{";
  for (const auto& [key, item] : entries.entries()) {
    if (out.size() > 1) out += ", ";
    out += representation(key, depth + 1) + ": " + representation(item, depth + 1);
    if (out.size() > limits::template_string_bytes_max) throw failure{"a text grows too large"};
  }
  return out + "}";
}

}  // namespace

std::string float_text(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::scientific).ptr;
  const std::string_view shortest(buffer, static_cast<std::size_t>(end - buffer));
  const std::size_t e = shortest.find('e');
  int exponent = 0;
  const std::size_t exponent_start = e + (shortest[e + 1] == '+' ? 2 : 1);
  std::from_chars(shortest.data() + exponent_start, end, exponent);
  if (exponent < -4 || exponent >= 16) {
    std::string out(shortest.substr(0, e));
    out += exponent < 0 ? "e-" : "e+";
    const int magnitude = std::abs(exponent);
    if (magnitude < 10) out += '0';
    return out + std::to_string(magnitude);
  }
  const auto fixed_end =
      std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::fixed).ptr;
  std::string out(buffer, fixed_end);
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

std::string representation(const value& item, int depth) {
  if (depth > 2 * limits::template_value_depth_max)
    throw failure{"maximum recursion depth exceeded while printing a value"};
  switch (item.type()) {
    case kind::undefined: return "Undefined";
    case kind::none: return "None";
    case kind::boolean: return item.boolean() ? "True" : "False";
    case kind::integer: return std::to_string(item.integer());
    case kind::floating: return float_text(item.number());
    case kind::string:
      return item.string().is_markup ? "Markup(" + quoted(item.bytes()) + ")"
                                     : quoted(item.bytes());
    case kind::list: return "[" + joined(item.elements().items, depth) + "]";
    case kind::tuple: {
      const auto& items = item.elements().items;
      return "(" + joined(items, depth) + (items.size() == 1 ? ",)" : ")");
    }
    case kind::dict: return dict_text(item.entries(), depth);
    case kind::object: return item.thing()->representation();
  }
  return {};
}

std::string to_text(const value& item) {
  if (item.is(kind::string)) return item.string().bytes;
  if (item.is(kind::undefined)) return {};
  return representation(item);
}

}  // namespace troupe::jinja
