// Recursive descent over the tokens, with Jinja's grammar and precedences. What the interpreter
// does not know (a tag, a filter, a test) is an error here, not when the first request arrives.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/text/jinja/lexer.hpp"
#include "runtime/text/jinja/syntax.hpp"

namespace troupe::jinja {

class parser {
 public:
  explicit parser(std::vector<token> tokens) : tokens_(std::move(tokens)) {}

  /// The whole template. Throws failure with the line.
  block parse();

 private:
  // parser_statements.cpp
  block parse_body(const std::vector<std::string_view>& ends);
  statement parse_statement();
  statement parse_for();
  statement parse_if();
  statement parse_set();
  statement parse_with();
  statement parse_filter_block();
  statement parse_macro();
  statement parse_call_block();
  statement parse_generation();
  statement parse_jump();
  void parse_signature(macro_definition& macro);
  void parse_macro_body(macro_definition& macro, std::string_view end);
  target parse_target(bool with_namespace);
  target parse_single_target(bool with_namespace);
  std::string parse_assigned_name();
  block parse_block_until(std::string_view end);
  block parse_scope_until(std::string_view end);

  // parser.cpp
  expression_ptr parse_expression(bool with_conditional = true);
  expression_ptr parse_tuple(bool with_conditional, bool is_parenthesized,
                             std::string_view end = {});
  expression_ptr parse_conditional();
  expression_ptr parse_or();
  expression_ptr parse_and();
  expression_ptr parse_not();
  expression_ptr parse_comparison();
  expression_ptr parse_sum();
  expression_ptr parse_concat();
  expression_ptr parse_product();
  expression_ptr parse_power();
  expression_ptr parse_unary(bool with_filter = true);
  expression_ptr parse_primary();
  expression_ptr parse_name();
  expression_ptr parse_number();
  expression_ptr parse_list();
  expression_ptr parse_dict();
  expression_ptr parse_postfix(expression_ptr operand);
  expression_ptr parse_filters_and_tests(expression_ptr operand);
  expression_ptr parse_dot(expression_ptr operand);
  expression_ptr parse_subscript(expression_ptr operand);
  expression_ptr parse_call(expression_ptr operand);
  expression_ptr parse_filter(expression_ptr operand);
  expression_ptr parse_test(expression_ptr operand);
  call_syntax parse_call_arguments();
  void parse_argument(call_syntax& args);

  [[nodiscard]] const token& current() const { return tokens_[position_]; }
  [[nodiscard]] const token& ahead() const {
    return tokens_[position_ + 1 < tokens_.size() ? position_ + 1 : position_];
  }
  const token& take();
  [[nodiscard]] bool at_symbol(std::string_view symbol) const;
  [[nodiscard]] bool at_name(std::string_view name) const;
  bool skip_symbol(std::string_view symbol);
  bool skip_name(std::string_view name);
  void expect_symbol(std::string_view symbol);
  void expect_name(std::string_view name);
  std::string expect_identifier();
  void expect_block_end();
  [[noreturn]] void fail(const std::string& message, int line = 0) const;
  [[nodiscard]] std::string describe_current() const;
  void note_unknown(std::string_view what, const std::string& name, int line);
  /// Parses something as the body of a condition, or as a scope of its own.
  template <class Parse>
  auto parse_as(bool is_conditional, Parse parse);

  /// Wraps a form; its depth is one more than its deepest child's, and bounded.
  expression_ptr make(expression::variant form, int line) const;

  /// Bounds the parser's own recursion.
  class nesting {
   public:
    explicit nesting(parser& owner);
    ~nesting() { --owner_.nesting_; }
    nesting(const nesting&) = delete;
    nesting& operator=(const nesting&) = delete;

   private:
    parser& owner_;
  };

  std::vector<token> tokens_;
  std::size_t position_ = 0;
  int nesting_ = 0;
  int loops_ = 0;  ///< enclosing loops of this function body, for break and continue
  std::vector<macro_definition*> macros_;
  std::vector<bool> loop_uses_;  ///< for each enclosing loop, whether its body names `loop`
  std::vector<std::string> open_tags_;
  /// As in Jinja, an unknown filter or test is an error at load, unless it stands directly in a
  /// branch of a condition: there it is an error when the branch is taken, for templates that ask
  /// whether a filter exists.
  bool is_conditional_ = false;
  std::vector<failure> unknown_;
};

template <class Parse>
auto parser::parse_as(bool is_conditional, Parse parse) {
  const bool outer = std::exchange(is_conditional_, is_conditional);
  auto parsed = parse();
  is_conditional_ = outer;
  return parsed;
}

}  // namespace troupe::jinja
