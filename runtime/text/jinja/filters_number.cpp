// Filters on numbers, and Python's parsing and rounding of them.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "runtime/text/jinja/builtins.hpp"
#include "runtime/text/jinja/interpreter.hpp"
#include "runtime/text/jinja/unicode.hpp"

namespace troupe::jinja {
namespace {

// Underscores may stand between digits only; nullopt elsewhere.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
      continue;
    }
    const auto is_digit_at = [&](std::size_t at) {
      return at < text.size() && std::isalnum(static_cast<unsigned char>(text[at])) != 0;
    };
    if (i == 0 || !is_digit_at(i - 1) || !is_digit_at(i + 1)) return std::nullopt;
  }
  return out;
}

std::int64_t to_integer(double number) {
  constexpr double limit = 9223372036854775808.0;  // 2^63
  if (!(number >= -limit && number < limit)) throw failure{"an integer does not fit 64 bits"};
  return static_cast<std::int64_t>(number);
}

std::int64_t base_prefix(std::string& digits, std::int64_t base) {
  if (digits.size() < 2 || digits[0] != '0') return base == 0 ? 10 : base;
  const char letter = static_cast<char>(digits[1] | 0x20);
  const std::int64_t named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
  if (named != 0 && (base == 0 || base == named)) {
    digits.erase(0, 2);
    return named;
  }
  return base == 0 ? 10 : base;
}

}  // namespace

std::optional<std::int64_t> parse_integer(std::string_view text, int base) {
  text = strip_right(strip_left(text));
  const bool is_negative = text.starts_with('-');
  if (is_negative || text.starts_with('+')) text.remove_prefix(1);
  auto digits = without_underscores(text);
  if (!digits) return std::nullopt;
  const auto actual = static_cast<int>(base_prefix(*digits, base));
  if (digits->empty() || digits->front() == '-' || digits->front() == '+') return std::nullopt;
  if (is_negative) digits->insert(0, "-");
  std::int64_t parsed = 0;
  const char* end = digits->data() + digits->size();
  const auto outcome = std::from_chars(digits->data(), end, parsed, actual);
  if (outcome.ptr != end) return std::nullopt;
  if (outcome.ec == std::errc::result_out_of_range)
    throw failure{"an integer does not fit 64 bits"};
  if (outcome.ec != std::errc{}) return std::nullopt;
  return parsed;
}

std::optional<double> parse_float(std::string_view text) {
  text = strip_right(strip_left(text));
  auto digits = without_underscores(text);
  if (!digits) return std::nullopt;
  std::string_view rest = *digits;
  const bool is_negative = rest.starts_with('-');
  if (is_negative || rest.starts_with('+')) rest.remove_prefix(1);
  const std::string word = to_lower(rest);
  double parsed = 0;
  if (word == "inf" || word == "infinity") {
    parsed = std::numeric_limits<double>::infinity();
  } else if (word == "nan") {
    parsed = std::numeric_limits<double>::quiet_NaN();
  } else {
    if (rest.empty() || (!std::isdigit(static_cast<unsigned char>(rest[0])) && rest[0] != '.'))
      return std::nullopt;
    const char* end = rest.data() + rest.size();
    const auto outcome = std::from_chars(rest.data(), end, parsed);
    if (outcome.ptr != end || outcome.ec == std::errc::invalid_argument) return std::nullopt;
    // from_chars leaves the value alone when it is out of range; strtod gives Python's inf or 0.
    if (outcome.ec == std::errc::result_out_of_range) parsed = std::strtod(word.c_str(), nullptr);
  }
  return is_negative ? -parsed : parsed;
}

namespace filters {
namespace {

double round_digits(double number, std::int64_t digits) {
  if (!std::isfinite(number)) return number;
  if (digits > 323) return number;  // beyond the smallest double
  if (digits < -308) return std::copysign(0.0, number);
  if (digits < 0) {
    const double scale = std::pow(10.0, static_cast<double>(-digits));
    return std::nearbyint(number / scale) * scale;
  }
  // Formatting rounds the exact binary value, half to even, as Python's round() does.
  char buffer[700];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::fixed,
                                 static_cast<int>(digits));
  double rounded = number;
  std::from_chars(buffer, end.ptr, rounded);
  return rounded;
}

// Python's round(int, -n): to a multiple of 10**n, half to even.
std::int64_t round_integer(std::int64_t number, std::int64_t digits) {
  if (digits >= 0) return number;
  if (digits < -18) return 0;
  std::int64_t scale = 1;
  for (std::int64_t i = 0; i < -digits; ++i) scale *= 10;
  std::int64_t quotient = number / scale;
  const std::int64_t rest = std::abs(number % scale);
  const bool rounds_away = rest > scale - rest || (rest == scale - rest && (quotient % 2) != 0);
  if (rounds_away) quotient += number < 0 ? -1 : 1;
  std::int64_t rounded = 0;
  if (__builtin_mul_overflow(quotient, scale, &rounded))
    throw failure{"an integer does not fit 64 bits"};
  return rounded;
}

void require_number(const value& operand, std::string_view filter) {
  if (operand.is(kind::undefined)) throw failure{operand.undefined_message()};
  if (!operand.is_number())
    throw failure{std::string(filter) + " needs a number, not " + std::string(operand.type_name())};
}

}  // namespace

value absolute(interpreter&, const value& operand, arguments args) {
  (void)bound_arguments("abs", std::move(args), {});
  require_number(operand, "abs");
  if (operand.is(kind::floating)) return value(std::fabs(operand.number()));
  const std::int64_t number = operand.integer();
  if (number == std::numeric_limits<std::int64_t>::min())
    throw failure{"an integer does not fit 64 bits"};
  return value(number < 0 ? -number : number);
}

value integer(interpreter&, const value& operand, arguments args) {
  const bound_arguments bound("int", std::move(args), {{"default"}, {"base"}});
  const value otherwise = bound.has(0) ? bound.at(0) : value(std::int64_t{0});
  if (operand.is(kind::undefined)) throw failure{operand.undefined_message()};
  if (operand.is_integral()) return value(operand.integer());
  if (operand.is(kind::floating)) {
    if (std::isnan(operand.number())) return otherwise;
    return value(to_integer(std::trunc(operand.number())));
  }
  if (!operand.is(kind::string)) return otherwise;
  const std::int64_t base = bound.integer(1, 10);
  if (base >= 0 && base != 1 && base <= 36) {
    if (const auto parsed = parse_integer(operand.bytes(), static_cast<int>(base)))
      return value(*parsed);
  }
  const auto parsed = parse_float(operand.bytes());
  if (!parsed || !std::isfinite(*parsed)) return otherwise;
  return value(to_integer(std::trunc(*parsed)));
}

value floating(interpreter&, const value& operand, arguments args) {
  const bound_arguments bound("float", std::move(args), {{"default"}});
  if (operand.is(kind::undefined)) throw failure{operand.undefined_message()};
  if (operand.is_number()) return value(operand.number());
  if (operand.is(kind::string)) {
    if (const auto parsed = parse_float(operand.bytes())) return value(*parsed);
  }
  return bound.has(0) ? bound.at(0) : value(0.0);
}

value round(interpreter&, const value& operand, arguments args) {
  const bound_arguments bound("round", std::move(args), {{"precision"}, {"method"}});
  const std::string method = bound.has(1) ? to_text(bound.at(1)) : "common";
  if (method != "common" && method != "ceil" && method != "floor")
    throw failure{"method must be common, ceil or floor"};
  require_number(operand, "round");
  const std::int64_t precision = bound.integer(0, 0);
  if (method == "common") {
    if (operand.is_integral()) return value(round_integer(operand.integer(), precision));
    return value(round_digits(operand.number(), precision));
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = operand.number() * scale;
  if (!std::isfinite(scaled)) throw failure{"cannot convert float infinity or NaN to integer"};
  return value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

value sum(interpreter& run, const value& operand, arguments args) {
  const bound_arguments bound("sum", std::move(args), {{"attribute"}, {"start"}});
  value total = bound.has(1) ? bound.at(1) : value(std::int64_t{0});
  if (total.is(kind::string)) throw failure{"sum() can't sum strings [use ''.join(seq) instead]"};
  for (const value& element : run.elements(operand)) {
    const value item = bound.is_none(0) ? element : run.item_path(element, bound.at(0));
    total = run.apply_operator(binary_operator::add, total, item);
  }
  return total;
}

}  // namespace filters
}  // namespace troupe::jinja
