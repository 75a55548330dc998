// The tests behind `is`.
#include <utility>

#include "runtime/text/jinja/builtins.hpp"
#include "runtime/text/jinja/callables.hpp"
#include "runtime/text/jinja/interpreter.hpp"
#include "runtime/text/jinja/unicode.hpp"

namespace troupe::jinja {
namespace {

void require_arguments(const arguments& args, std::size_t count) {
  if (args.positional.size() != count || !args.keyword.empty())
    throw failure{"a test takes " + std::to_string(count) + " argument(s), " +
                  std::to_string(args.positional.size() + args.keyword.size()) + " given"};
}

template <bool (*Predicate)(const value&)>
bool plain(interpreter&, const value& operand, const arguments& args) {
  require_arguments(args, 0);
  return Predicate(operand);
}

bool is_defined(const value& item) {
  return !item.is(kind::undefined);
}
bool is_undefined(const value& item) {
  return item.is(kind::undefined);
}
bool is_none(const value& item) {
  return item.is(kind::none);
}
bool is_boolean(const value& item) {
  return item.is(kind::boolean);
}
bool is_true(const value& item) {
  return item.is(kind::boolean) && item.boolean();
}
bool is_false(const value& item) {
  return item.is(kind::boolean) && !item.boolean();
}
bool is_integer(const value& item) {
  return item.is(kind::integer);
}
bool is_float(const value& item) {
  return item.is(kind::floating);
}
bool is_number(const value& item) {
  return item.is_number();
}
bool is_string(const value& item) {
  return item.is(kind::string);
}
bool is_mapping(const value& item) {
  return item.is(kind::dict);
}
bool is_escaped(const value& item) {
  return item.is(kind::string) && item.string().is_markup;
}

bool is_sequence(const value& item) {
  return item.is(kind::string) || item.is_sequence() || item.is(kind::dict) ||
         item.is(kind::undefined) || item.as<range_object>() != nullptr;
}

bool is_iterable(const value& item) {
  return is_sequence(item) || item.as<iterator_object>() != nullptr ||
         item.as<view_object>() != nullptr || item.as<loop_object>() != nullptr;
}

bool is_callable(const value& item) {
  return item.is(kind::undefined) || (item.is(kind::object) && item.thing()->is_callable());
}

// str.isupper() and islower(): some cased letter, and none of the other case.
bool has_only_case(const value& item, bool (*wanted)(char32_t), bool (*other)(char32_t)) {
  const std::string text = to_text(item);
  bool has_any = false;
  for (std::size_t i = 0; i < text.size();) {
    const char32_t c = next_code_point(text, i);
    if (other(c)) return false;
    has_any = has_any || wanted(c);
  }
  return has_any;
}

bool is_lower_text(const value& item) {
  return has_only_case(item, is_lower, is_upper);
}
bool is_upper_text(const value& item) {
  return has_only_case(item, is_upper, is_lower);
}

bool leaves(interpreter& run, const value& operand, const value& divisor, std::int64_t rest) {
  const value remainder = run.apply_operator(binary_operator::modulo, operand, divisor);
  return equal(remainder, value(rest));
}

bool is_odd(interpreter& run, const value& operand, const arguments& args) {
  require_arguments(args, 0);
  return leaves(run, operand, value(std::int64_t{2}), 1);
}

bool is_even(interpreter& run, const value& operand, const arguments& args) {
  require_arguments(args, 0);
  return leaves(run, operand, value(std::int64_t{2}), 0);
}

bool is_divisible(interpreter& run, const value& operand, const arguments& args) {
  if (args.positional.empty() && args.keyword.size() == 1 && args.keyword[0].first == "num")
    return leaves(run, operand, args.keyword[0].second, 0);
  require_arguments(args, 1);
  return leaves(run, operand, args.positional[0], 0);
}

bool is_equal_to(interpreter& run, const value& operand, const arguments& args) {
  require_arguments(args, 1);
  return run.is_equal(operand, args.positional[0]);
}

bool is_different(interpreter& run, const value& operand, const arguments& args) {
  return !is_equal_to(run, operand, args);
}

bool is_less(interpreter& run, const value& operand, const arguments& args) {
  require_arguments(args, 1);
  return run.compare(operand, args.positional[0], "<") == -1;
}

bool is_greater(interpreter& run, const value& operand, const arguments& args) {
  require_arguments(args, 1);
  return run.compare(operand, args.positional[0], ">") == 1;
}

bool is_at_most(interpreter& run, const value& operand, const arguments& args) {
  require_arguments(args, 1);
  const auto order = run.compare(operand, args.positional[0], "<=");
  return order && *order <= 0;
}

bool is_at_least(interpreter& run, const value& operand, const arguments& args) {
  require_arguments(args, 1);
  const auto order = run.compare(operand, args.positional[0], ">=");
  return order && *order >= 0;
}

bool is_in(interpreter& run, const value& operand, const arguments& args) {
  require_arguments(args, 1);
  return run.contains(args.positional[0], operand);
}

bool is_same_as(interpreter&, const value& operand, const arguments& args) {
  require_arguments(args, 1);
  return operand.is_same(args.positional[0]);
}

bool is_filter_name(interpreter&, const value& operand, const arguments& args) {
  require_arguments(args, 0);
  return operand.is(kind::string) && find_filter(operand.bytes()) != nullptr;
}

bool is_test_name(interpreter&, const value& operand, const arguments& args) {
  require_arguments(args, 0);
  return operand.is(kind::string) && find_test(operand.bytes()) != nullptr;
}

constexpr std::pair<std::string_view, test_function> test_table[] = {
    {"defined", plain<is_defined>},
    {"undefined", plain<is_undefined>},
    {"none", plain<is_none>},
    {"boolean", plain<is_boolean>},
    {"true", plain<is_true>},
    {"false", plain<is_false>},
    {"integer", plain<is_integer>},
    {"float", plain<is_float>},
    {"number", plain<is_number>},
    {"string", plain<is_string>},
    {"mapping", plain<is_mapping>},
    {"sequence", plain<is_sequence>},
    {"iterable", plain<is_iterable>},
    {"callable", plain<is_callable>},
    {"escaped", plain<is_escaped>},
    {"lower", plain<is_lower_text>},
    {"upper", plain<is_upper_text>},
    {"odd", is_odd},
    {"even", is_even},
    {"divisibleby", is_divisible},
    {"in", is_in},
    {"sameas", is_same_as},
    {"filter", is_filter_name},
    {"test", is_test_name},
    {"==", is_equal_to},
    {"eq", is_equal_to},
    {"equalto", is_equal_to},
    {"!=", is_different},
    {"ne", is_different},
    {"<", is_less},
    {"lt", is_less},
    {"lessthan", is_less},
    {">", is_greater},
    {"gt", is_greater},
    {"greaterthan", is_greater},
    {"<=", is_at_most},
    {"le", is_at_most},
    {">=", is_at_least},
    {"ge", is_at_least},
};

}  // namespace

test_function find_test(std::string_view name) {
  for (const auto& [known, function] : test_table)
    if (known == name) return function;
  return nullptr;
}

}  // namespace troupe::jinja
