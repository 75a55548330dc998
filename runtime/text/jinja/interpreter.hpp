// One rendering of a template: it walks the tree, keeps the variables and enforces the limits on
// steps, memory, recursion and output. Made for one rendering, used by one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/text/jinja/objects.hpp"
#include "runtime/text/jinja/syntax.hpp"
#include "runtime/text/jinja/value.hpp"

namespace troupe::jinja {

/// The variables of one block; names not found here are looked up in the enclosing one.
struct scope {
  std::shared_ptr<scope> parent;
  std::vector<std::pair<std::string_view, value>> variables;
  void set(std::string_view name, value item);
};

class loop_object;

enum class flow : std::uint8_t { normal, break_loop, continue_loop };

class interpreter {
 public:
  using variables = std::unordered_map<std::string, value>;
  interpreter(variables context, std::chrono::sys_seconds now)
      : context_(std::move(context)), now_(now) {}
  ~interpreter();
  interpreter(const interpreter&) = delete;
  interpreter& operator=(const interpreter&) = delete;

  /// Throws failure with the line.
  std::string render(const block& body);

  // ---- what filters, tests and objects use; all of it throws failure.

  [[nodiscard]] std::chrono::sys_seconds now() const { return now_; }
  /// Pays for work and for memory about to be used.
  void charge_steps(std::uint64_t count);
  void charge_bytes(std::size_t count);
  /// Refuses a string of a size before it is made, and pays for it.
  void charge_string(std::size_t bytes);
  /// Values that have been paid for.
  value make_text(std::string bytes, bool is_markup = false);
  value make_list(std::vector<value> items);
  value make_tuple(std::vector<value> items);

  /// owner.name and owner[key], by the sandbox's rules: undefined where there is none.
  value attribute(const value& owner, std::string_view name);
  value item(const value& owner, const value& key);
  /// Follows "a.b.0", the attribute arguments of filters.
  value item_path(const value& owner, const value& path);
  value call(const value& callee, arguments args);
  /// The elements of anything that can be iterated.
  std::vector<value> elements(const value& source);
  [[nodiscard]] bool contains(const value& container, const value& wanted);
  [[nodiscard]] bool is_equal(const value& a, const value& b);
  [[nodiscard]] std::optional<int> compare(const value& a, const value& b,
                                           std::string_view operation);
  value apply_filter(std::string_view name, const value& operand, arguments args);
  bool apply_test(std::string_view name, const value& operand, const arguments& args);
  value apply_operator(binary_operator operation, const value& left, const value& right);

  value make_namespace();
  /// The text of a macro's body, or of a call block's, in a scope of its own.
  value call_macro(const macro_definition& macro, const std::shared_ptr<scope>& home,
                   arguments args);
  /// One level of a loop, into `out`; recursive loops call it again.
  flow run_loop(const for_statement& loop, const std::shared_ptr<scope>& home,
                std::vector<value> items, int depth, std::string& out);
  [[nodiscard]] static std::size_t weight_of(const value& item);

  /// Bounds the interpreter's own recursion.
  class recursion {
   public:
    explicit recursion(interpreter& owner);
    ~recursion() { --owner_.depth_; }
    recursion(const recursion&) = delete;
    recursion& operator=(const recursion&) = delete;

   private:
    interpreter& owner_;
  };

 private:
  friend class expression_evaluator;
  friend class statement_executor;

  // statements.cpp
  flow execute(const block& body, std::string& out);
  flow execute(const statement& node, std::string& out);
  void assign(const target& variable, value item);
  value make_macro(const macro_definition& macro);
  void emit(std::string& out, std::string_view text);
  /// Runs a body in a scope of its own.
  flow execute_scoped(const block& body, std::string& out);

  // expressions.cpp
  value evaluate(const expression& node);
  value look_up(const std::string& name) const;
  arguments evaluate_arguments(const call_syntax& call);
  value apply_filter_chain(const expression& node, const value& operand);

  variables context_;
  std::chrono::sys_seconds now_;
  std::shared_ptr<scope> scope_ = std::make_shared<scope>();
  const value* block_text_ = nullptr;  ///< what a filter without an operand applies to
  int line_ = 0;
  int depth_ = 0;
  std::uint64_t steps_ = 0;
  std::size_t bytes_ = 0;
  /// Scopes that macros hold, loops and namespaces: all that can form cycles or long chains. The
  /// destructor empties each, so that destroying one never reaches another.
  std::vector<std::shared_ptr<scope>> captured_scopes_;
  std::vector<std::shared_ptr<loop_object>> loops_;
  std::vector<std::shared_ptr<namespace_object>> namespaces_;
};

}  // namespace troupe::jinja
