// Fields: sign, digits, grouping, alignment.
#include "runtime/text/jinja/number_format.hpp"

#include <charconv>
#include <cmath>

#include "config/limits.hpp"
#include "runtime/text/jinja/slicing.hpp"
#include "runtime/text/jinja/unicode.hpp"

namespace troupe::jinja {
namespace {

// More digits than any double has; Python would go on with zeros.
constexpr std::int64_t precision_max = 1100;

std::int64_t take_number(std::string_view& text) {
  std::int64_t number = 0;
  while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
    number = number * 10 + (text[0] - '0');
    if (number > static_cast<std::int64_t>(limits::template_string_bytes_max))
      throw failure{"Too many decimal digits in format string"};
    text.remove_prefix(1);
  }
  return number;
}

bool is_align(char c) {
  return c == '<' || c == '>' || c == '=' || c == '^';
}

std::string grouped(const std::string& digits, char separator, std::size_t group) {
  std::size_t whole = 0;
  while (whole < digits.size() && std::isxdigit(static_cast<unsigned char>(digits[whole]))) ++whole;
  if (digits.find('e') < whole) whole = digits.find('e');
  std::string out;
  for (std::size_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % group == 0) out += separator;
    out += digits[i];
  }
  return out + digits.substr(whole);
}

// Lays out sign and digits; '=' pads between them.
std::string laid_out(const format_spec& spec, const std::string& sign, const std::string& body,
                     std::size_t body_length, char default_align) {
  const char align = spec.align != 0 ? spec.align : default_align;
  const auto length = static_cast<std::int64_t>(sign.size() + body_length);
  const std::int64_t missing = std::max<std::int64_t>(0, spec.width - length);
  const std::int64_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  std::string before;
  std::string after;
  for (std::int64_t i = 0; i < left; ++i) before += spec.fill;
  for (std::int64_t i = left; i < missing; ++i) after += spec.fill;
  return align == '=' ? sign + before + body : before + sign + body + after;
}

std::string sign_text(const format_spec& spec, bool is_negative) {
  if (is_negative) return "-";
  return spec.sign == '-' ? std::string() : std::string(1, spec.sign);
}

// With "0" and grouping, Python's zeros are grouped, too; this build refuses the combination.
void refuse_grouped_zeros(const format_spec& spec) {
  if (spec.grouping != 0 && spec.align == '=' && spec.fill == "0" && spec.width > 0)
    throw failure{"a format with both zero padding and grouping is not supported"};
}

std::string format_integer(const format_spec& spec, std::int64_t number) {
  if (spec.precision >= 0) throw failure{"Precision not allowed in integer format specifier"};
  const bool is_negative = number < 0;
  const std::uint64_t magnitude =
      is_negative ? 0 - static_cast<std::uint64_t>(number) : static_cast<std::uint64_t>(number);
  if (spec.type == 'c') {
    if (number < 0 || number > 0x10FFFF || (number >= 0xD800 && number <= 0xDFFF))
      throw failure{"%c arg not in range(0x110000)"};
    std::string character;
    append_utf8(character, static_cast<char32_t>(number));
    return laid_out(spec, "", character, 1, '<');
  }
  const int base = spec.type == 'b'                       ? 2
                   : spec.type == 'o'                     ? 8
                   : spec.type == 'x' || spec.type == 'X' ? 16
                                                          : 10;
  char buffer[72];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, magnitude, base).ptr;
  std::string digits(buffer, end);
  if (spec.grouping != 0) {
    if (spec.grouping == ',' && base != 10) throw failure{"Cannot specify ',' with this type"};
    digits = grouped(digits, spec.grouping, base == 10 ? 3 : 4);
  }
  std::string prefix = sign_text(spec, is_negative);
  if (spec.is_alternate && base != 10) prefix += base == 2 ? "0b" : base == 8 ? "0o" : "0x";
  std::string whole = digits;
  if (spec.type == 'X') {
    for (char& c : whole) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    if (spec.is_alternate) prefix.back() = 'X';
  }
  return laid_out(spec, prefix, whole, whole.size(), '>');
}

std::string format_float(const format_spec& spec, double number) {
  const bool is_negative = std::signbit(number) && !std::isnan(number);
  const double magnitude = std::fabs(number);
  std::string digits;
  if (spec.type == 0 && spec.precision < 0) {
    digits = float_text(magnitude);
  } else if (spec.type == 0) {
    // repr-like: general format, but with ".0" behind a whole number.
    digits = float_digits(magnitude, 'g', std::max<std::int64_t>(spec.precision, 1), false);
    const bool is_exponent = digits.find('e') != std::string::npos;
    if (std::isfinite(magnitude) && !is_exponent && digits.find('.') == std::string::npos)
      digits += ".0";
  } else if (spec.type == '%') {
    digits = float_digits(magnitude * 100, 'f', spec.precision, spec.is_alternate) + "%";
  } else {
    digits = float_digits(magnitude, spec.type == 'n' ? 'g' : spec.type, spec.precision,
                          spec.is_alternate);
  }
  if (spec.grouping != 0 && std::isfinite(magnitude)) digits = grouped(digits, spec.grouping, 3);
  return laid_out(spec, sign_text(spec, is_negative), digits, digits.size(), '>');
}

}  // namespace

format_spec parse_format_spec(std::string_view text) {
  format_spec spec;
  std::size_t first_end = 0;
  if (!text.empty()) (void)next_code_point(text, first_end);
  bool has_fill = false;
  if (first_end < text.size() && is_align(text[first_end])) {
    spec.fill = std::string(text.substr(0, first_end));
    spec.align = text[first_end];
    text.remove_prefix(first_end + 1);
    has_fill = true;
  } else if (!text.empty() && is_align(text[0])) {
    spec.align = text[0];
    text.remove_prefix(1);
  }
  const auto take = [&](char c) {
    if (!text.starts_with(c)) return false;
    text.remove_prefix(1);
    return true;
  };
  if (!text.empty() && (text[0] == '+' || text[0] == '-' || text[0] == ' ')) {
    spec.sign = text[0];
    text.remove_prefix(1);
  }
  spec.is_alternate = take('#');
  if (!has_fill && take('0')) {
    spec.fill = "0";
    if (spec.align == 0) spec.align = '=';
  }
  spec.width = take_number(text);
  if (take(',')) spec.grouping = ',';
  if (take('_')) spec.grouping = '_';
  if (take('.')) {
    if (text.empty() || text[0] < '0' || text[0] > '9')
      throw failure{"Format specifier missing precision"};
    spec.precision = take_number(text);
  }
  if (text.size() > 1) throw failure{"Invalid format specifier"};
  if (!text.empty()) spec.type = text[0];
  return spec;
}

std::string format_text(const format_spec& spec, const text& item) {
  if ((spec.type != 0 && spec.type != 's') || spec.sign != '-' || spec.is_alternate ||
      spec.grouping != 0)
    throw failure{"this format specifier is not for strings"};
  // Zero padding alone means left alignment for strings; "=" by hand is an error in Python.
  if (spec.align == '=' && spec.fill != "0")
    throw failure{"'=' alignment not allowed in string format specifier"};
  format_spec field = spec;
  if (field.align == '=') field.align = '<';
  const std::string body =
      spec.precision >= 0
          ? std::string(text_range(item, 0, static_cast<std::size_t>(spec.precision)))
          : item.bytes;
  return laid_out(field, "", body, code_point_count(body), '<');
}

std::string format_number(const format_spec& spec, const value& item) {
  refuse_grouped_zeros(spec);
  constexpr std::string_view integer_types = "bcdoxXn";
  constexpr std::string_view float_types = "eEfFgGn%";
  const bool is_integer_type =
      spec.type == 0 || integer_types.find(spec.type) != integer_types.npos;
  if (item.is_integral() && is_integer_type) return format_integer(spec, item.integer());
  if (spec.type != 0 && float_types.find(spec.type) == float_types.npos)
    throw failure{std::string("Unknown format code '") + spec.type + "' for object of type '" +
                  std::string(item.type_name()) + "'"};
  return format_float(spec, item.number());
}

std::string float_digits(double magnitude, char type, std::int64_t precision, bool is_alternate) {
  const bool is_upper = type == 'E' || type == 'F' || type == 'G';
  const char kind = static_cast<char>(type | 0x20);
  if (!std::isfinite(magnitude)) {
    const bool is_nan = std::isnan(magnitude);
    return is_upper ? (is_nan ? "NAN" : "INF") : (is_nan ? "nan" : "inf");
  }
  if (is_alternate) throw failure{"the '#' flag is not supported for floats"};
  if (precision > precision_max) throw failure{"precision too big"};
  const auto shape = kind == 'e'   ? std::chars_format::scientific
                     : kind == 'f' ? std::chars_format::fixed
                                   : std::chars_format::general;
  // 309 digits before the point, the point, and the precision behind it.
  char buffer[2000];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, magnitude, shape,
                                 static_cast<int>(precision < 0 ? 6 : precision));
  std::string digits(buffer, end.ptr);
  if (is_upper)
    for (char& c : digits) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return digits;
}

}  // namespace troupe::jinja
