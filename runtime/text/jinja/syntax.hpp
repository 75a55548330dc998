// The syntax tree of a template. Built once by the parser, then read by any number of renderings at
// a time: nothing in it changes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/text/jinja/value.hpp"

namespace troupe::jinja {

using filter_function = value (*)(interpreter&, const value&, arguments);
using test_function = bool (*)(interpreter&, const value&, const arguments&);

struct expression;
using expression_ptr = std::unique_ptr<const expression>;

struct call_syntax {
  std::vector<expression_ptr> positional;
  std::vector<std::pair<std::string, expression_ptr>> keyword;
  expression_ptr unpacked_list;  ///< *args, or null
  expression_ptr unpacked_dict;  ///< **kwargs, or null
};

struct constant_node {
  value item;
};
struct name_node {
  std::string name;
};
struct list_node {
  std::vector<expression_ptr> items;
};
struct tuple_node {
  std::vector<expression_ptr> items;
};
struct dict_node {
  std::vector<std::pair<expression_ptr, expression_ptr>> entries;
};
enum class unary_operator : std::uint8_t { negate, plus, logical_not };
struct unary_node {
  unary_operator operation;
  expression_ptr operand;
};
enum class binary_operator : std::uint8_t {
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  modulo,
  power
};
struct binary_node {
  binary_operator operation;
  expression_ptr left, right;
};
struct concat_node {
  std::vector<expression_ptr> items;
};
struct logical_node {
  bool is_and;
  expression_ptr left, right;
};
enum class comparison : std::uint8_t {
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  in,
  not_in
};
struct comparison_node {
  expression_ptr first;
  std::vector<std::pair<comparison, expression_ptr>> rest;
};
struct conditional_node {
  expression_ptr test, then, otherwise;  ///< otherwise may be null
};
struct attribute_node {
  expression_ptr owner;
  std::string name;
};
struct subscript_node {
  expression_ptr owner, index;
};
struct slice_node {
  expression_ptr owner, start, stop, step;  ///< bounds may be null
};
struct call_node {
  expression_ptr callee;
  call_syntax args;
};
struct filter_node {
  expression_ptr operand;  ///< null: the text of a filter or set block
  std::string name;
  filter_function function;  ///< null: unknown
  call_syntax args;
};
struct test_node {
  expression_ptr operand;
  std::string name;
  test_function function;  ///< null: unknown
  call_syntax args;
};

struct expression {
  using variant =
      std::variant<constant_node, name_node, list_node, tuple_node, dict_node, unary_node,
                   binary_node, concat_node, logical_node, comparison_node, conditional_node,
                   attribute_node, subscript_node, slice_node, call_node, filter_node, test_node>;
  variant form;
  int line = 0;
  int depth = 1;  ///< nesting, which bounds the recursion of everything that walks the tree
};

/// What can stand left of an assignment: a name, a namespace attribute, or a tuple of targets.
struct target {
  std::string name;
  std::string attribute;      ///< of the namespace `name`; empty for a plain name
  std::vector<target> items;  ///< not empty: a tuple
  bool is_tuple = false;
};

struct statement;
using block = std::vector<statement>;

struct text_statement {
  value text;
};
struct print_statement {
  expression_ptr item;
};
struct for_statement {
  target variable;
  expression_ptr items;
  expression_ptr condition;  ///< null without one
  bool is_recursive = false;
  bool uses_loop = false;  ///< the body names `loop`
  block body, otherwise;
};
struct if_statement {
  std::vector<std::pair<expression_ptr, block>> branches;
  block otherwise;
};
struct set_statement {
  target variable;
  expression_ptr item;
};
struct set_block_statement {
  target variable;
  expression_ptr filter;  ///< a chain of filters whose innermost operand is null, or null
  block body;
};
struct with_statement {
  std::vector<std::pair<target, expression_ptr>> variables;
  block body;
};
struct filter_statement {
  expression_ptr filter;
  block body;
};

struct macro_definition {
  std::string name;
  std::vector<std::pair<std::string, expression_ptr>> parameters;  ///< default null: none
  block body;
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
};
struct macro_statement {
  std::unique_ptr<const macro_definition> macro;
};
struct call_statement {
  expression_ptr call;  ///< a call_node
  std::unique_ptr<const macro_definition> caller;
};
/// {% generation %}: its text is the assistant's, which matters for training masks only.
struct generation_statement {
  block body;
};
struct break_statement {};
struct continue_statement {};

struct statement {
  std::variant<text_statement, print_statement, for_statement, if_statement, set_statement,
               set_block_statement, with_statement, filter_statement, macro_statement,
               call_statement, generation_statement, break_statement, continue_statement>
      form;
  int line = 0;
};

}  // namespace troupe::jinja
