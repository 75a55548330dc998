// The statements: output, loops, conditions, assignments, macros.
#include <algorithm>
#include <utility>

#include "config/limits.hpp"
#include "runtime/text/jinja/callables.hpp"
#include "runtime/text/jinja/interpreter.hpp"

namespace troupe::jinja {
namespace {

/// Makes another scope the current one for a while.
class scope_switch {
 public:
  scope_switch(std::shared_ptr<scope>& current, std::shared_ptr<scope> next)
      : current_(current), previous_(std::exchange(current, std::move(next))) {}
  ~scope_switch() { current_ = std::move(previous_); }
  scope_switch(const scope_switch&) = delete;
  scope_switch& operator=(const scope_switch&) = delete;

 private:
  std::shared_ptr<scope>& current_;
  std::shared_ptr<scope> previous_;
};

std::shared_ptr<scope> make_scope(std::shared_ptr<scope> parent) {
  return std::make_shared<scope>(scope{std::move(parent), {}});
}

}  // namespace

void scope::set(std::string_view name, value item) {
  for (auto& [known, held] : variables)
    if (known == name) {
      held = std::move(item);
      return;
    }
  variables.emplace_back(name, std::move(item));
}

std::string interpreter::render(const block& body) {
  try {
    std::string out;
    (void)execute(body, out);
    return out;
  } catch (failure& problem) {
    if (problem.line == 0) problem.line = line_;
    throw;
  }
}

void interpreter::emit(std::string& out, std::string_view text) {
  if (out.size() + text.size() > limits::template_output_bytes_max)
    throw failure{"the template writes more than " +
                  std::to_string(limits::template_output_bytes_max) + " bytes"};
  charge_bytes(text.size());
  out += text;
}

flow interpreter::execute(const block& body, std::string& out) {
  const recursion guard(*this);
  for (const statement& node : body) {
    charge_steps(1);
    line_ = node.line;
    if (const flow next = execute(node, out); next != flow::normal) return next;
  }
  return flow::normal;
}

flow interpreter::execute_scoped(const block& body, std::string& out) {
  const scope_switch inner(scope_, make_scope(scope_));
  return execute(body, out);
}

class statement_executor {
 public:
  statement_executor(interpreter& run, std::string& out) : run_(run), out_(out) {}

  flow operator()(const text_statement& node) {
    run_.emit(out_, node.text.bytes());
    return flow::normal;
  }

  flow operator()(const print_statement& node) {
    const value item = run_.evaluate(*node.item);
    if (item.is(kind::string)) {
      run_.emit(out_, item.bytes());
    } else {
      run_.charge_steps(item.weight());
      run_.emit(out_, to_text(item));
    }
    return flow::normal;
  }

  flow operator()(const for_statement& node) {
    return run_.run_loop(node, run_.scope_, run_.elements(run_.evaluate(*node.items)), 0, out_);
  }

  flow operator()(const if_statement& node) {
    for (const auto& [test, body] : node.branches)
      if (run_.evaluate(*test).is_truthy()) return run_.execute(body, out_);
    return run_.execute(node.otherwise, out_);
  }

  flow operator()(const set_statement& node) {
    run_.assign(node.variable, run_.evaluate(*node.item));
    return flow::normal;
  }

  flow operator()(const set_block_statement& node) {
    std::string text;
    const flow next = run_.execute_scoped(node.body, text);
    if (next != flow::normal) return next;
    value item = run_.make_text(std::move(text));
    if (node.filter) item = run_.apply_filter_chain(*node.filter, item);
    run_.assign(node.variable, std::move(item));
    return flow::normal;
  }

  flow operator()(const with_statement& node) {
    std::vector<value> items;
    for (const auto& row : node.variables) items.push_back(run_.evaluate(*row.second));
    const scope_switch inner(run_.scope_, make_scope(run_.scope_));
    for (std::size_t i = 0; i < items.size(); ++i)
      run_.assign(node.variables[i].first, std::move(items[i]));
    return run_.execute(node.body, out_);
  }

  flow operator()(const filter_statement& node) {
    std::string text;
    const flow next = run_.execute_scoped(node.body, text);
    if (next != flow::normal) return next;
    const value item = run_.make_text(std::move(text));
    run_.emit(out_, to_text(run_.apply_filter_chain(*node.filter, item)));
    return flow::normal;
  }

  flow operator()(const macro_statement& node) {
    run_.scope_->set(node.macro->name, run_.make_macro(*node.macro));
    return flow::normal;
  }

  flow operator()(const call_statement& node) {
    const auto& call = std::get<call_node>(node.call->form);
    const value callee = run_.evaluate(*call.callee);
    arguments args = run_.evaluate_arguments(call.args);
    args.keyword.emplace_back("caller", run_.make_macro(*node.caller));
    run_.emit(out_, to_text(run_.call(callee, std::move(args))));
    return flow::normal;
  }

  flow operator()(const generation_statement& node) { return run_.execute_scoped(node.body, out_); }

  flow operator()(const break_statement&) { return flow::break_loop; }
  flow operator()(const continue_statement&) { return flow::continue_loop; }

 private:
  interpreter& run_;
  std::string& out_;
};

flow interpreter::execute(const statement& node, std::string& out) {
  return std::visit(statement_executor(*this, out), node.form);
}

void interpreter::assign(const target& variable, value item) {
  if (variable.is_tuple) {
    std::vector<value> items = elements(item);
    if (items.size() != variable.items.size())
      throw failure{"cannot unpack " + std::to_string(items.size()) + " values into " +
                    std::to_string(variable.items.size()) + " names"};
    for (std::size_t i = 0; i < items.size(); ++i) assign(variable.items[i], std::move(items[i]));
    return;
  }
  if (variable.attribute.empty()) {
    scope_->set(variable.name, std::move(item));
    return;
  }
  const value owner = look_up(variable.name);
  auto* space = owner.as<namespace_object>();
  if (space == nullptr) throw failure{"cannot assign attribute on non-namespace object"};
  charge_bytes(sizeof(value));
  space->set(variable.attribute, std::move(item));
}

flow interpreter::run_loop(const for_statement& loop, const std::shared_ptr<scope>& home,
                           std::vector<value> items, int depth, std::string& out) {
  const recursion guard(*this);
  const auto passes = [&](const value& item) {
    if (!loop.condition) return true;
    const scope_switch inner(scope_, make_scope(home));
    assign(loop.variable, item);
    return evaluate(*loop.condition).is_truthy();
  };
  // Only a body that names `loop` can tell how many elements pass; otherwise the condition runs
  // just before each turn, and sees what the turns before it changed.
  if (loop.uses_loop) std::erase_if(items, [&](const value& item) { return !passes(item); });
  const auto shared = std::make_shared<const std::vector<value>>(std::move(items));
  std::shared_ptr<loop_object> handle;
  if (loop.uses_loop) {
    charge_bytes(sizeof(loop_object) + shared->size() * sizeof(value));
    handle = std::make_shared<loop_object>(loop, home, shared, depth);
    loops_.push_back(handle);
  }
  bool is_empty = true;
  for (std::size_t i = 0; i < shared->size(); ++i) {
    charge_steps(1);
    const value& item = (*shared)[i];
    if (!loop.uses_loop && !passes(item)) continue;
    is_empty = false;
    const scope_switch inner(scope_, make_scope(home));
    if (handle) {
      handle->move_to(i);
      scope_->set("loop", value(std::shared_ptr<object>(handle)));
    }
    assign(loop.variable, item);
    if (execute(loop.body, out) == flow::break_loop) break;
  }
  if (!is_empty) return flow::normal;
  const scope_switch inner(scope_, make_scope(home));
  return execute(loop.otherwise, out);
}

value interpreter::make_macro(const macro_definition& macro) {
  charge_bytes(sizeof(macro_object) + sizeof(scope));
  captured_scopes_.push_back(scope_);
  return value(std::make_shared<macro_object>(macro, scope_));
}

value interpreter::call_macro(const macro_definition& macro, const std::shared_ptr<scope>& home,
                              arguments args) {
  const recursion guard(*this);
  const scope_switch inner(scope_, make_scope(home));
  const std::size_t given = std::min(args.positional.size(), macro.parameters.size());
  std::vector<value> extra(args.positional.begin() + static_cast<std::ptrdiff_t>(given),
                           args.positional.end());
  if (!extra.empty() && !macro.uses_varargs)
    throw failure{"macro '" + macro.name + "' takes not more than " +
                  std::to_string(macro.parameters.size()) + " argument(s)"};
  const auto take_keyword = [&](const std::string& name) -> std::optional<value> {
    const auto found = std::find_if(args.keyword.begin(), args.keyword.end(),
                                    [&](const auto& row) { return row.first == name; });
    if (found == args.keyword.end()) return std::nullopt;
    value item = std::move(found->second);
    args.keyword.erase(found);
    return item;
  };
  std::vector<std::optional<value>> passed;
  for (std::size_t i = 0; i < macro.parameters.size(); ++i)
    passed.push_back(i < given ? std::optional(std::move(args.positional[i]))
                               : take_keyword(macro.parameters[i].first));
  if (macro.uses_caller)
    scope_->set("caller", take_keyword("caller").value_or(value::undefined("No caller defined")));
  if (!args.keyword.empty() && !macro.uses_kwargs)
    throw failure{"macro '" + macro.name + "' takes no keyword argument '" +
                  args.keyword.front().first + "'"};
  if (macro.uses_kwargs) {
    dictionary rest;
    for (auto& [name, item] : args.keyword) rest.insert(value(name), std::move(item));
    scope_->set("kwargs", value::dict(std::move(rest)));
  }
  if (macro.uses_varargs) scope_->set("varargs", make_tuple(std::move(extra)));
  for (std::size_t i = 0; i < passed.size(); ++i) {
    const auto& [name, otherwise] = macro.parameters[i];
    value item = passed[i]   ? std::move(*passed[i])
                 : otherwise ? evaluate(*otherwise)
                             : value::undefined("parameter '" + name + "' was not provided");
    scope_->set(name, std::move(item));
  }
  std::string out;
  (void)execute(macro.body, out);
  return make_text(std::move(out));
}

}  // namespace troupe::jinja
