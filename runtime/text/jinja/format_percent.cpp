// Python's `template % args`: %s, %r, %d, %i, %u, %f, %e, %g, %x, %o, %c and %%, with flags.
#include <algorithm>
#include <cmath>

#include "config/limits.hpp"
#include "runtime/text/jinja/builtins.hpp"
#include "runtime/text/jinja/interpreter.hpp"
#include "runtime/text/jinja/number_format.hpp"
#include "runtime/text/jinja/unicode.hpp"

namespace troupe::jinja {
namespace {

class percent_formatter {
 public:
  percent_formatter(interpreter& run, std::string_view pattern, const value& args)
      : run_(run), rest_(pattern), args_(args) {}

  std::string format() {
    std::string out;
    while (!rest_.empty()) {
      const std::size_t percent = std::min(rest_.find('%'), rest_.size());
      out += rest_.substr(0, percent);
      rest_.remove_prefix(percent);
      if (rest_.empty()) break;
      rest_.remove_prefix(1);
      out += field();
      run_.charge_string(out.size());
    }
    const bool is_complete = args_.is(kind::tuple)
                                 ? next_ == args_.elements().items.size()
                                 : next_ > 0 || args_.is(kind::dict) || args_.is(kind::list) ||
                                       args_.is(kind::undefined) ||
                                       args_.as<range_object>() != nullptr;
    if (!is_complete && !used_name_)
      throw failure{"not all arguments converted during string formatting"};
    return out;
  }

 private:
  char take() {
    if (rest_.empty()) throw failure{"incomplete format"};
    const char c = rest_[0];
    rest_.remove_prefix(1);
    return c;
  }

  const value& next_argument() {
    if (args_.is(kind::tuple)) {
      if (next_ >= args_.elements().items.size())
        throw failure{"not enough arguments for format string"};
      return args_.elements().items[next_++];
    }
    if (next_++ > 0) throw failure{"not enough arguments for format string"};
    return args_;
  }

  std::int64_t number() {
    if (rest_.starts_with('*')) {
      take();
      const value& given = next_argument();
      if (!given.is_integral()) throw failure{"* wants int"};
      return std::clamp<std::int64_t>(given.integer(),
                                      -static_cast<std::int64_t>(limits::template_string_bytes_max),
                                      static_cast<std::int64_t>(limits::template_string_bytes_max));
    }
    std::int64_t parsed = 0;
    while (!rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9') {
      parsed = parsed * 10 + (take() - '0');
      if (parsed > static_cast<std::int64_t>(limits::template_string_bytes_max))
        throw failure{"width too big"};
    }
    return parsed;
  }

  std::string field() {
    const value* named = nullptr;
    if (rest_.starts_with('(')) {
      if (!args_.is(kind::dict)) throw failure{"format requires a mapping"};
      const std::size_t close = rest_.find(')');
      if (close == std::string_view::npos) throw failure{"incomplete format key"};
      named = args_.entries().find(rest_.substr(1, close - 1));
      if (named == nullptr)
        throw failure{"'" + std::string(rest_.substr(1, close - 1)) + "' is missing in a format"};
      rest_.remove_prefix(close + 1);
      used_name_ = true;
    }
    format_spec spec;
    spec.align = '>';
    read_flags(spec);
    spec.width = number();
    if (spec.width < 0) {
      spec.align = '<';
      spec.width = -spec.width;
    }
    if (rest_.starts_with('.')) {
      take();
      spec.precision = std::max<std::int64_t>(0, number());
    }
    while (!rest_.empty() && (rest_[0] == 'h' || rest_[0] == 'l' || rest_[0] == 'L')) take();
    run_.charge_string(static_cast<std::size_t>(spec.width));
    const char type = take();
    if (type == '%') return "%";
    return convert(spec, type, named != nullptr ? *named : next_argument());
  }

  void read_flags(format_spec& spec) {
    bool pads_zero = false;
    for (; !rest_.empty(); take()) {
      if (rest_[0] == '-') {
        spec.align = '<';
      } else if (rest_[0] == '+' || (rest_[0] == ' ' && spec.sign != '+')) {
        spec.sign = rest_[0];
      } else if (rest_[0] == '#') {
        spec.is_alternate = true;
      } else if (rest_[0] == '0') {
        pads_zero = true;
      } else if (rest_[0] != ' ') {
        break;
      }
    }
    if (!pads_zero || spec.align == '<') return;
    spec.fill = "0";
    spec.align = '=';
  }

  std::string convert(format_spec spec, char type, const value& item) {
    if (type == 's' || type == 'r' || type == 'a') {
      run_.charge_steps(item.weight());
      std::string bytes = type == 's' ? to_text(item) : representation(item);
      spec.sign = '-';
      spec.is_alternate = false;
      spec.fill = " ";
      if (spec.align == '=') spec.align = '>';
      const std::size_t length = code_point_count(bytes);
      return format_text(spec, text{std::move(bytes), length, false});
    }
    if (type == 'c' && item.is(kind::string) && item.string().length == 1) {
      spec.fill = " ";
      spec.align = spec.align == '=' ? '>' : spec.align;
      return format_text(spec, item.string());
    }
    if (item.is(kind::undefined)) throw failure{item.undefined_message()};
    if (!item.is_number())
      throw failure{std::string("%") + type + " format: a real number is required, not " +
                    std::string(item.type_name())};
    return convert_number(spec, type, item);
  }

  static std::string convert_number(format_spec spec, char type, const value& item) {
    constexpr std::string_view float_types = "eEfFgG";
    if (float_types.find(type) != std::string_view::npos) {
      spec.type = type;
      return format_number(spec, value(item.number()));
    }
    constexpr std::string_view integer_types = "diuoxXc";
    if (integer_types.find(type) == std::string_view::npos)
      throw failure{std::string("unsupported format character '") + type + "'"};
    const bool is_decimal_type = type == 'd' || type == 'i' || type == 'u';
    if (!item.is_integral() && !is_decimal_type)
      throw failure{std::string("%") + type + " format: an integer is required"};
    if (spec.precision >= 0) throw failure{"a precision for integers is not supported"};
    const double number = item.number();
    if (!item.is_integral() && !(std::fabs(number) < 9.2e18))
      throw failure{"an integer does not fit 64 bits"};
    spec.type = is_decimal_type ? 'd' : type;
    return format_number(
        spec, item.is_integral() ? item : value(static_cast<std::int64_t>(std::trunc(number))));
  }

  interpreter& run_;
  std::string_view rest_;
  const value& args_;
  std::size_t next_ = 0;
  bool used_name_ = false;
};

}  // namespace

value format_percent(interpreter& run, const value& pattern, const value& args) {
  return run.make_text(percent_formatter(run, pattern.bytes(), args).format(),
                       pattern.string().is_markup);
}

}  // namespace troupe::jinja
