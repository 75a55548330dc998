// Arithmetic with Python's meaning: // and % round towards minus infinity, / gives a float, bool is
// an int, + and * also work on strings and lists.
#include <cmath>
#include <limits>

#include "runtime/text/jinja/builtins.hpp"
#include "runtime/text/jinja/interpreter.hpp"

namespace troupe::jinja {
namespace {

[[noreturn]] void fail_overflow() {
  throw failure{"an integer does not fit 64 bits"};
}
[[noreturn]] void fail_zero() {
  throw failure{"division by zero"};
}

std::string_view symbol(binary_operator operation) {
  switch (operation) {
    case binary_operator::add: return "+";
    case binary_operator::subtract: return "-";
    case binary_operator::multiply: return "*";
    case binary_operator::divide: return "/";
    case binary_operator::floor_divide: return "//";
    case binary_operator::modulo: return "%";
    case binary_operator::power: return "**";
  }
  return "?";
}

[[noreturn]] void fail_types(binary_operator operation, const value& left, const value& right) {
  throw failure{"unsupported operand type(s) for " + std::string(symbol(operation)) + ": '" +
                std::string(left.type_name()) + "' and '" + std::string(right.type_name()) + "'"};
}

value integer_power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) throw failure{"0.0 cannot be raised to a negative power"};
    return value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  std::int64_t result = 1;
  for (std::int64_t bit = exponent; bit > 0; bit >>= 1) {
    if ((bit & 1) != 0 && __builtin_mul_overflow(result, base, &result)) fail_overflow();
    if (bit > 1 && __builtin_mul_overflow(base, base, &base)) fail_overflow();
  }
  return value(result);
}

struct quotient {
  std::int64_t floor, remainder;
};

quotient divide_integers(std::int64_t a, std::int64_t b) {
  if (b == 0) fail_zero();
  if (b == -1) {
    std::int64_t negated = 0;
    if (__builtin_sub_overflow(std::int64_t{0}, a, &negated)) fail_overflow();
    return {negated, 0};
  }
  quotient result{a / b, a % b};
  if (result.remainder != 0 && (result.remainder < 0) != (b < 0)) {
    --result.floor;
    result.remainder += b;
  }
  return result;
}

value calculate(binary_operator operation, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  switch (operation) {
    case binary_operator::add:
      if (__builtin_add_overflow(a, b, &result)) fail_overflow();
      return value(result);
    case binary_operator::subtract:
      if (__builtin_sub_overflow(a, b, &result)) fail_overflow();
      return value(result);
    case binary_operator::multiply:
      if (__builtin_mul_overflow(a, b, &result)) fail_overflow();
      return value(result);
    case binary_operator::divide:
      if (b == 0) fail_zero();
      return value(static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
    case binary_operator::floor_divide: return value(divide_integers(a, b).floor);
    case binary_operator::modulo: return value(divide_integers(a, b).remainder);
    case binary_operator::power: return integer_power(a, b);
  }
  return {};
}

// As CPython's float_divmod: exact remainder first, then the quotient from it.
struct float_quotient {
  double floor, remainder;
};

float_quotient divide_floats(double a, double b) {
  if (b == 0) throw failure{"float floor division by zero"};
  double remainder = std::fmod(a, b);
  double ratio = (a - remainder) / b;
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      ratio -= 1.0;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  if (ratio == 0) return {std::copysign(0.0, a / b), remainder};
  double floor = std::floor(ratio);
  if (ratio - floor > 0.5) floor += 1.0;
  return {floor, remainder};
}

double float_power(double base, double exponent) {
  if (base == 0 && exponent < 0) throw failure{"0.0 cannot be raised to a negative power"};
  if (base < 0 && std::isfinite(base) && std::isfinite(exponent) &&
      exponent != std::floor(exponent))
    throw failure{"complex numbers are not supported"};
  const double result = std::pow(base, exponent);
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent))
    throw failure{"Numerical result out of range"};
  return result;
}

value calculate(binary_operator operation, double a, double b) {
  switch (operation) {
    case binary_operator::add: return value(a + b);
    case binary_operator::subtract: return value(a - b);
    case binary_operator::multiply: return value(a * b);
    case binary_operator::divide:
      if (b == 0) fail_zero();
      return value(a / b);
    case binary_operator::floor_divide: return value(divide_floats(a, b).floor);
    case binary_operator::modulo: return value(divide_floats(a, b).remainder);
    case binary_operator::power: return value(float_power(a, b));
  }
  return {};
}

value repeat_text(interpreter& run, const value& text, std::int64_t count) {
  const std::string_view bytes = text.bytes();
  if (count <= 0 || bytes.empty()) return value(std::string(), text.string().is_markup);
  const auto times = static_cast<std::uint64_t>(count);
  // Saturates: charge_string refuses it.
  const bool is_huge = times > std::numeric_limits<std::uint32_t>::max();
  run.charge_string(is_huge ? std::numeric_limits<std::size_t>::max() : bytes.size() * times);
  std::string out;
  out.reserve(bytes.size() * times);
  for (std::uint64_t i = 0; i < times; ++i) out += bytes;
  return value(std::move(out), text.string().is_markup);
}

value repeat_sequence(interpreter& run, const value& source, std::int64_t count) {
  const auto& items = source.elements().items;
  std::vector<value> out;
  if (!items.empty()) {
    for (std::int64_t i = 0; i < count; ++i) {
      run.charge_steps(items.size());
      run.charge_bytes(items.size() * sizeof(value));
      out.insert(out.end(), items.begin(), items.end());
    }
  }
  return source.is(kind::list) ? run.make_list(std::move(out)) : run.make_tuple(std::move(out));
}

value add_sequences(interpreter& run, const value& left, const value& right) {
  std::vector<value> items = left.elements().items;
  const auto& more = right.elements().items;
  items.insert(items.end(), more.begin(), more.end());
  return left.is(kind::list) ? run.make_list(std::move(items)) : run.make_tuple(std::move(items));
}

value add_texts(interpreter& run, const value& left, const value& right) {
  const bool left_markup = left.string().is_markup;
  const bool right_markup = right.string().is_markup;
  const std::size_t size = left.bytes().size() + right.bytes().size();
  if (left_markup == right_markup) {
    run.charge_string(size);
    return value(std::string(left.bytes()) += right.bytes(), left_markup);
  }
  run.charge_string(6 * size);  // the longest entity
  return value(left_markup ? std::string(left.bytes()) + escape_html(right.bytes())
                           : escape_html(left.bytes()) + std::string(right.bytes()),
               true);
}

}  // namespace

value interpreter::apply_operator(binary_operator operation, const value& left,
                                  const value& right) {
  if (operation == binary_operator::modulo && left.is(kind::string))
    return format_percent(*this, left, right);
  if (left.is(kind::undefined)) throw failure{left.undefined_message()};
  if (right.is(kind::undefined)) throw failure{right.undefined_message()};
  if (left.is_number() && right.is_number())
    return left.is_integral() && right.is_integral()
               ? calculate(operation, left.integer(), right.integer())
               : calculate(operation, left.number(), right.number());
  if (operation == binary_operator::add) {
    if (left.is(kind::string) && right.is(kind::string)) return add_texts(*this, left, right);
    if (left.is_sequence() && left.type() == right.type()) return add_sequences(*this, left, right);
  }
  if (operation == binary_operator::multiply) {
    const value& many = left.is_integral() ? right : left;
    const value& count = left.is_integral() ? left : right;
    if (count.is_integral() && many.is(kind::string))
      return repeat_text(*this, many, count.integer());
    if (count.is_integral() && many.is_sequence())
      return repeat_sequence(*this, many, count.integer());
  }
  fail_types(operation, left, right);
}

}  // namespace troupe::jinja
