// Expressions.
#include "runtime/text/jinja/parser.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "config/limits.hpp"
#include "runtime/text/jinja/builtins.hpp"

namespace troupe::jinja {

expression_ptr parser::parse_expression(bool with_conditional) {
  const nesting guard(*this);
  return with_conditional ? parse_conditional() : parse_or();
}

// One expression, or several with commas between, which make a tuple. `end` is a name that ends it.
expression_ptr parser::parse_tuple(bool with_conditional, bool is_parenthesized,
                                   std::string_view end) {
  const int line = current().line;
  std::vector<expression_ptr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) expect_symbol(",");
    const bool at_end = current().kind == token_kind::variable_end ||
                        current().kind == token_kind::block_end || at_symbol(")") ||
                        (!end.empty() && at_name(end));
    if (at_end) break;
    items.push_back(parse_expression(with_conditional));
    if (!at_symbol(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items.front());
  if (!is_tuple && !is_parenthesized) fail("Expected an expression, got " + describe_current());
  return make(tuple_node{std::move(items)}, line);
}

expression_ptr parser::parse_conditional() {
  const int line = current().line;
  const std::size_t unknown_before = unknown_.size();
  auto result = parse_or();
  while (skip_name("if")) {
    auto test = parse_or();
    expression_ptr otherwise;
    if (skip_name("else")) {
      const nesting guard(*this);
      otherwise = parse_conditional();
    }
    result = make(conditional_node{std::move(test), std::move(result), std::move(otherwise)}, line);
    unknown_.resize(unknown_before);
  }
  return result;
}

expression_ptr parser::parse_or() {
  const int line = current().line;
  auto left = parse_and();
  while (skip_name("or")) {
    auto right = parse_and();
    left = make(logical_node{false, std::move(left), std::move(right)}, line);
  }
  return left;
}

expression_ptr parser::parse_and() {
  const int line = current().line;
  auto left = parse_not();
  while (skip_name("and")) {
    auto right = parse_not();
    left = make(logical_node{true, std::move(left), std::move(right)}, line);
  }
  return left;
}

expression_ptr parser::parse_not() {
  const int line = current().line;
  if (!skip_name("not")) return parse_comparison();
  const nesting guard(*this);
  return make(unary_node{unary_operator::logical_not, parse_not()}, line);
}

expression_ptr parser::parse_comparison() {
  constexpr std::pair<std::string_view, comparison> symbols[] = {
      {"==", comparison::equal},  {"!=", comparison::not_equal},
      {"<", comparison::less},    {"<=", comparison::less_equal},
      {">", comparison::greater}, {">=", comparison::greater_equal}};
  const int line = current().line;
  comparison_node node{parse_sum(), {}};
  while (true) {
    const auto found = std::find_if(std::begin(symbols), std::end(symbols),
                                    [&](const auto& row) { return at_symbol(row.first); });
    comparison operation = comparison::in;
    if (found != std::end(symbols)) {
      take();
      operation = found->second;
    } else if (at_name("not") && ahead().kind == token_kind::name && ahead().text == "in") {
      take();
      take();
      operation = comparison::not_in;
    } else if (!skip_name("in")) {
      break;
    }
    node.rest.emplace_back(operation, parse_sum());
  }
  if (node.rest.empty()) return std::move(node.first);
  return make(std::move(node), line);
}

expression_ptr parser::parse_sum() {
  const int line = current().line;
  auto left = parse_concat();
  while (at_symbol("+") || at_symbol("-")) {
    const auto operation = take().text == "+" ? binary_operator::add : binary_operator::subtract;
    auto right = parse_concat();
    left = make(binary_node{operation, std::move(left), std::move(right)}, line);
  }
  return left;
}

expression_ptr parser::parse_concat() {
  const int line = current().line;
  concat_node node;
  node.items.push_back(parse_product());
  while (skip_symbol("~")) node.items.push_back(parse_product());
  if (node.items.size() == 1) return std::move(node.items.front());
  return make(std::move(node), line);
}

expression_ptr parser::parse_product() {
  constexpr std::pair<std::string_view, binary_operator> symbols[] = {
      {"*", binary_operator::multiply},
      {"/", binary_operator::divide},
      {"//", binary_operator::floor_divide},
      {"%", binary_operator::modulo}};
  const int line = current().line;
  auto left = parse_power();
  while (true) {
    const auto found = std::find_if(std::begin(symbols), std::end(symbols),
                                    [&](const auto& row) { return at_symbol(row.first); });
    if (found == std::end(symbols)) return left;
    take();
    auto right = parse_power();
    left = make(binary_node{found->second, std::move(left), std::move(right)}, line);
  }
}

// Jinja's power groups to the left, unlike Python's.
expression_ptr parser::parse_power() {
  const int line = current().line;
  auto left = parse_unary();
  while (skip_symbol("**")) {
    auto right = parse_unary();
    left = make(binary_node{binary_operator::power, std::move(left), std::move(right)}, line);
  }
  return left;
}

expression_ptr parser::parse_unary(bool with_filter) {
  const nesting guard(*this);
  const int line = current().line;
  expression_ptr operand;
  if (skip_symbol("-")) {
    operand = make(unary_node{unary_operator::negate, parse_unary(false)}, line);
  } else if (skip_symbol("+")) {
    operand = make(unary_node{unary_operator::plus, parse_unary(false)}, line);
  } else {
    operand = parse_primary();
  }
  operand = parse_postfix(std::move(operand));
  return with_filter ? parse_filters_and_tests(std::move(operand)) : std::move(operand);
}

expression_ptr parser::parse_primary() {
  const int line = current().line;
  switch (current().kind) {
    case token_kind::name: return parse_name();
    case token_kind::string: {
      std::string text;
      while (current().kind == token_kind::string) text += take().text;
      return make(constant_node{value(std::move(text))}, line);
    }
    case token_kind::integer:
    case token_kind::floating: return parse_number();
    default: break;
  }
  if (at_symbol("[")) return parse_list();
  if (at_symbol("{")) return parse_dict();
  if (!skip_symbol("(")) fail("unexpected " + describe_current());
  auto inside = parse_tuple(true, true);
  expect_symbol(")");
  return inside;
}

expression_ptr parser::parse_name() {
  const int line = current().line;
  const std::string name = take().text;
  if (name == "true" || name == "True") return make(constant_node{value(true)}, line);
  if (name == "false" || name == "False") return make(constant_node{value(false)}, line);
  if (name == "none" || name == "None") return make(constant_node{value()}, line);
  if (name == "loop") std::fill(loop_uses_.begin(), loop_uses_.end(), true);
  for (macro_definition* macro : macros_) {
    macro->uses_caller |= name == "caller";
    macro->uses_varargs |= name == "varargs";
    macro->uses_kwargs |= name == "kwargs";
  }
  return make(name_node{name}, line);
}

expression_ptr parser::parse_number() {
  const token number = take();
  const char* end = number.text.data() + number.text.size();
  if (number.kind == token_kind::floating) {
    double parsed = 0;
    const auto outcome = std::from_chars(number.text.data(), end, parsed);
    if (outcome.ec == std::errc::result_out_of_range)
      fail("the number " + number.text + " is out of range", number.line);
    return make(constant_node{value(parsed)}, number.line);
  }
  int base = 10;
  std::size_t prefix = 0;
  if (number.text.size() > 2 && number.text[0] == '0') {
    const char letter = static_cast<char>(number.text[1] | 0x20);
    base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
    prefix = base == 10 ? 0 : 2;
  }
  std::int64_t parsed = 0;
  const auto outcome = std::from_chars(number.text.data() + prefix, end, parsed, base);
  if (outcome.ec != std::errc{})
    fail("the integer " + number.text + " does not fit 64 bits", number.line);
  return make(constant_node{value(parsed)}, number.line);
}

expression_ptr parser::parse_list() {
  const int line = take().line;
  list_node node;
  while (!at_symbol("]")) {
    if (!node.items.empty()) expect_symbol(",");
    if (at_symbol("]")) break;
    node.items.push_back(parse_expression());
  }
  expect_symbol("]");
  return make(std::move(node), line);
}

expression_ptr parser::parse_dict() {
  const int line = take().line;
  dict_node node;
  while (!at_symbol("}")) {
    if (!node.entries.empty()) expect_symbol(",");
    if (at_symbol("}")) break;
    auto key = parse_expression();
    expect_symbol(":");
    node.entries.emplace_back(std::move(key), parse_expression());
  }
  expect_symbol("}");
  return make(std::move(node), line);
}

expression_ptr parser::parse_postfix(expression_ptr operand) {
  while (true) {
    if (at_symbol(".")) {
      operand = parse_dot(std::move(operand));
    } else if (at_symbol("[")) {
      operand = parse_subscript(std::move(operand));
    } else if (at_symbol("(")) {
      operand = parse_call(std::move(operand));
    } else {
      return operand;
    }
  }
}

expression_ptr parser::parse_filters_and_tests(expression_ptr operand) {
  while (true) {
    if (at_symbol("|")) {
      take();
      operand = parse_filter(std::move(operand));
    } else if (at_name("is")) {
      operand = parse_test(std::move(operand));
    } else if (at_symbol("(")) {
      operand = parse_call(std::move(operand));
    } else {
      return operand;
    }
  }
}

expression_ptr parser::parse_dot(expression_ptr operand) {
  const int line = take().line;
  if (current().kind == token_kind::name)
    return make(attribute_node{std::move(operand), take().text}, line);
  if (current().kind != token_kind::integer) fail("expected name or number");
  return make(subscript_node{std::move(operand), parse_number()}, line);
}

expression_ptr parser::parse_subscript(expression_ptr operand) {
  const int line = take().line;
  std::vector<expression_ptr> items;
  while (!at_symbol("]")) {
    if (!items.empty()) expect_symbol(",");
    slice_node slice;
    if (!at_symbol(":")) slice.start = parse_expression();
    if (!skip_symbol(":")) {
      items.push_back(std::move(slice.start));
      continue;
    }
    if (!at_symbol(":") && !at_symbol("]") && !at_symbol(",")) slice.stop = parse_expression();
    if (skip_symbol(":") && !at_symbol("]") && !at_symbol(",")) slice.step = parse_expression();
    if (!items.empty() || !at_symbol("]")) fail("slices over several dimensions are not supported");
    take();
    slice.owner = std::move(operand);
    return make(std::move(slice), line);
  }
  expect_symbol("]");
  if (items.size() == 1)
    return make(subscript_node{std::move(operand), std::move(items.front())}, line);
  auto index = make(tuple_node{std::move(items)}, line);
  return make(subscript_node{std::move(operand), std::move(index)}, line);
}

expression_ptr parser::parse_call(expression_ptr operand) {
  const int line = current().line;
  auto args = parse_call_arguments();
  return make(call_node{std::move(operand), std::move(args)}, line);
}

call_syntax parser::parse_call_arguments() {
  call_syntax args;
  expect_symbol("(");
  bool needs_comma = false;
  while (!at_symbol(")")) {
    if (needs_comma) {
      expect_symbol(",");
      if (at_symbol(")")) break;
    }
    parse_argument(args);
    needs_comma = true;
  }
  expect_symbol(")");
  return args;
}

void parser::parse_argument(call_syntax& args) {
  const auto ensure = [&](bool is_valid) {
    if (!is_valid) fail("invalid syntax for function call expression");
  };
  if (skip_symbol("*")) {
    ensure(!args.unpacked_list && !args.unpacked_dict);
    args.unpacked_list = parse_expression();
  } else if (skip_symbol("**")) {
    ensure(!args.unpacked_dict);
    args.unpacked_dict = parse_expression();
  } else if (current().kind == token_kind::name && ahead().kind == token_kind::symbol &&
             ahead().text == "=") {
    ensure(!args.unpacked_dict);
    const std::string name = take().text;
    take();
    const bool is_repeated = std::any_of(args.keyword.begin(), args.keyword.end(),
                                         [&](const auto& row) { return row.first == name; });
    if (is_repeated) fail("keyword argument repeated: " + name);
    args.keyword.emplace_back(name, parse_expression());
  } else {
    ensure(!args.unpacked_list && !args.unpacked_dict && args.keyword.empty());
    args.positional.push_back(parse_expression());
  }
}

// The name and arguments of a filter; the bar before it has been taken.
expression_ptr parser::parse_filter(expression_ptr operand) {
  const int line = current().line;
  std::string name = expect_identifier();
  while (skip_symbol(".")) name += "." + expect_identifier();
  const filter_function function = find_filter(name);
  if (function == nullptr) note_unknown("filter", name, line);
  call_syntax args;
  if (at_symbol("(")) args = parse_call_arguments();
  return make(filter_node{std::move(operand), std::move(name), function, std::move(args)}, line);
}

expression_ptr parser::parse_test(expression_ptr operand) {
  const int line = take().line;
  const bool is_negated = skip_name("not");
  std::string name = expect_identifier();
  while (skip_symbol(".")) name += "." + expect_identifier();
  const test_function function = find_test(name);
  if (function == nullptr) note_unknown("test", name, line);
  call_syntax args;
  const bool at_operand =
      current().kind == token_kind::name || current().kind == token_kind::string ||
      current().kind == token_kind::integer || current().kind == token_kind::floating ||
      at_symbol("[") || at_symbol("{");
  if (at_symbol("(")) {
    args = parse_call_arguments();
  } else if (at_operand && !at_name("else") && !at_name("or") && !at_name("and")) {
    if (at_name("is")) fail("You cannot chain multiple tests with is");
    args.positional.push_back(parse_postfix(parse_primary()));
  }
  auto test = make(test_node{std::move(operand), std::move(name), function, std::move(args)}, line);
  return is_negated ? make(unary_node{unary_operator::logical_not, std::move(test)}, line)
                    : std::move(test);
}

}  // namespace troupe::jinja
