// Statements.
#include <algorithm>
#include <utility>

#include "runtime/text/jinja/parser.hpp"

namespace troupe::jinja {

block parser::parse() {
  block body = parse_body({});
  if (!unknown_.empty()) throw unknown_.front();
  return body;
}

// Up to a tag that `ends` names, whose name is left as the current token; with no ends, to the end
// of the template.
block parser::parse_body(const std::vector<std::string_view>& ends) {
  const nesting guard(*this);
  block body;
  while (true) {
    const int line = current().line;
    switch (current().kind) {
      case token_kind::data: body.push_back({text_statement{value(take().text)}, line}); break;
      case token_kind::variable_begin: {
        take();
        auto item = parse_tuple(true, false);
        if (current().kind != token_kind::variable_end)
          fail("expected '}}', got " + describe_current());
        take();
        body.push_back({print_statement{std::move(item)}, line});
        break;
      }
      case token_kind::block_begin:
        take();
        if (std::any_of(ends.begin(), ends.end(), [&](auto end) { return at_name(end); }))
          return body;
        body.push_back(parse_statement());
        expect_block_end();
        break;
      default:
        if (ends.empty()) return body;
        fail("Unexpected end of template: the tag '" + open_tags_.back() + "' is not closed (" +
             std::string(ends.back()) + " is missing)");
    }
  }
}

block parser::parse_block_until(std::string_view end) {
  skip_symbol(":");
  expect_block_end();
  block body = parse_body({end});
  take();
  return body;
}

block parser::parse_scope_until(std::string_view end) {
  return parse_as(false, [&] { return parse_block_until(end); });
}

statement parser::parse_statement() {
  const int line = current().line;
  if (current().kind != token_kind::name) fail("tag name expected");
  const std::string name = current().text;
  open_tags_.push_back(name);
  statement parsed = [&]() -> statement {
    if (name == "for") return parse_for();
    if (name == "if") return parse_if();
    if (name == "set") return parse_set();
    if (name == "with") return parse_with();
    if (name == "filter") return parse_filter_block();
    if (name == "macro") return parse_macro();
    if (name == "call") return parse_call_block();
    if (name == "generation") return parse_generation();
    if (name == "break" || name == "continue") return parse_jump();
    for (const auto known :
         {"include", "import", "from", "extends", "block", "autoescape", "print"})
      if (name == known)
        fail("the tag '" + name + "' is not supported: a chat template stands alone", line);
    fail("Encountered unknown tag '" + name + "'", line);
  }();
  open_tags_.pop_back();
  parsed.line = line;
  return parsed;
}

statement parser::parse_for() {
  take();
  for_statement node;
  node.variable = parse_target(false);
  expect_name("in");
  node.items = parse_tuple(false, false, "recursive");
  if (skip_name("if")) node.condition = parse_expression();
  node.is_recursive = skip_name("recursive");
  skip_symbol(":");
  expect_block_end();
  const int outer_loops = loops_;
  // The body of a recursive loop is a function of its own, but break still means this loop.
  loops_ = node.is_recursive ? 1 : loops_ + 1;
  loop_uses_.push_back(node.is_recursive);
  node.body = parse_as(false, [&] { return parse_body({"else", "endfor"}); });
  node.uses_loop = loop_uses_.back();
  loop_uses_.pop_back();
  loops_ = outer_loops;
  if (take().text == "else") node.otherwise = parse_scope_until("endfor");
  return {std::move(node)};
}

statement parser::parse_if() {
  take();
  if_statement node;
  while (true) {
    auto test = parse_as(true, [&] { return parse_tuple(false, false); });
    skip_symbol(":");
    expect_block_end();
    block body = parse_as(true, [&] { return parse_body({"elif", "else", "endif"}); });
    node.branches.emplace_back(std::move(test), std::move(body));
    const std::string next = take().text;
    if (next == "elif") continue;
    if (next == "else") node.otherwise = parse_as(true, [&] { return parse_block_until("endif"); });
    return {std::move(node)};
  }
}

statement parser::parse_set() {
  take();
  target variable = parse_target(true);
  if (skip_symbol("=")) {
    auto item = parse_tuple(true, false);
    return {set_statement{std::move(variable), std::move(item)}};
  }
  expression_ptr filter;
  while (skip_symbol("|")) filter = parse_filter(std::move(filter));
  block body = parse_scope_until("endset");
  return {set_block_statement{std::move(variable), std::move(filter), std::move(body)}};
}

statement parser::parse_with() {
  take();
  with_statement node;
  while (current().kind != token_kind::block_end && current().kind != token_kind::end) {
    if (!node.variables.empty()) expect_symbol(",");
    target variable = parse_target(false);
    expect_symbol("=");
    node.variables.emplace_back(std::move(variable), parse_expression());
  }
  node.body = parse_scope_until("endwith");
  return {std::move(node)};
}

statement parser::parse_filter_block() {
  take();
  filter_statement node;
  node.filter = parse_filter(nullptr);
  while (skip_symbol("|")) node.filter = parse_filter(std::move(node.filter));
  node.body = parse_scope_until("endfilter");
  return {std::move(node)};
}

void parser::parse_signature(macro_definition& macro) {
  expect_symbol("(");
  bool has_default = false;
  while (!at_symbol(")")) {
    if (!macro.parameters.empty()) expect_symbol(",");
    std::string parameter = parse_assigned_name();
    expression_ptr otherwise;
    if (skip_symbol("=")) {
      otherwise = parse_expression();
      has_default = true;
    } else if (has_default) {
      fail("non-default argument follows default argument");
    }
    macro.parameters.emplace_back(std::move(parameter), std::move(otherwise));
  }
  expect_symbol(")");
}

void parser::parse_macro_body(macro_definition& macro, std::string_view end) {
  const int outer_loops = std::exchange(loops_, 0);
  macros_.push_back(&macro);
  macro.body = parse_scope_until(end);
  macros_.pop_back();
  loops_ = outer_loops;
}

statement parser::parse_macro() {
  take();
  auto macro = std::make_unique<macro_definition>();
  macro->name = parse_assigned_name();
  parse_signature(*macro);
  parse_macro_body(*macro, "endmacro");
  return {macro_statement{std::move(macro)}};
}

statement parser::parse_call_block() {
  take();
  auto caller = std::make_unique<macro_definition>();
  caller->name = "caller";
  if (at_symbol("(")) parse_signature(*caller);
  auto call = parse_expression();
  if (!std::holds_alternative<call_node>(call->form)) fail("expected call");
  parse_macro_body(*caller, "endcall");
  return {call_statement{std::move(call), std::move(caller)}};
}

statement parser::parse_generation() {
  take();
  const int outer_loops = std::exchange(loops_, 0);
  generation_statement node{parse_scope_until("endgeneration")};
  loops_ = outer_loops;
  return {std::move(node)};
}

statement parser::parse_jump() {
  const std::string name = take().text;
  if (loops_ == 0) fail("'" + name + "' outside of a loop");
  if (name == "break") return {break_statement{}};
  return {continue_statement{}};
}

// `a`, `a.b` where namespaces may be written to, or `a, b` and `(a, b), c`.
target parser::parse_target(bool with_namespace) {
  const nesting guard(*this);
  target first = parse_single_target(with_namespace);
  if (!at_symbol(",")) return first;
  target tuple;
  tuple.is_tuple = true;
  tuple.items.push_back(std::move(first));
  while (skip_symbol(",")) {
    const bool at_end = at_name("in") || at_symbol("=") || at_symbol(")") ||
                        current().kind == token_kind::block_end;
    if (at_end) break;
    tuple.items.push_back(parse_single_target(with_namespace));
  }
  return tuple;
}

std::string parser::parse_assigned_name() {
  std::string name = expect_identifier();
  for (const auto reserved : {"true", "false", "none", "True", "False", "None"})
    if (name == reserved) fail("can't assign to '" + name + "'");
  return name;
}

target parser::parse_single_target(bool with_namespace) {
  if (skip_symbol("(")) {
    target inside = parse_target(with_namespace);
    expect_symbol(")");
    return inside;
  }
  target variable;
  variable.name = parse_assigned_name();
  if (with_namespace && skip_symbol(".")) variable.attribute = expect_identifier();
  return variable;
}

}  // namespace troupe::jinja
