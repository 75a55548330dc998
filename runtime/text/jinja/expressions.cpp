// The expressions.
#include <algorithm>
#include <utility>

#include "runtime/text/jinja/builtins.hpp"
#include "runtime/text/jinja/interpreter.hpp"
#include "runtime/text/jinja/slicing.hpp"

namespace troupe::jinja {

class expression_evaluator {
 public:
  explicit expression_evaluator(interpreter& run) : run_(run) {}

  value operator()(const constant_node& node) { return node.item; }
  value operator()(const name_node& node) { return run_.look_up(node.name); }
  value operator()(const list_node& node) { return run_.make_list(all(node.items)); }
  value operator()(const tuple_node& node) { return run_.make_tuple(all(node.items)); }

  value operator()(const dict_node& node) {
    dictionary entries;
    for (const auto& [key, item] : node.entries) {
      value held = run_.evaluate(*key);
      entries.insert(std::move(held), run_.evaluate(*item));
    }
    run_.charge_bytes(node.entries.size() * sizeof(dictionary::entry));
    return value::dict(std::move(entries));
  }

  value operator()(const unary_node& node) {
    const value operand = run_.evaluate(*node.operand);
    if (node.operation == unary_operator::logical_not) return value(!operand.is_truthy());
    if (operand.is(kind::undefined)) throw failure{operand.undefined_message()};
    const bool negates = node.operation == unary_operator::negate;
    if (operand.is(kind::floating)) return value(negates ? -operand.number() : operand.number());
    if (!operand.is_integral())
      throw failure{"bad operand type for unary operator: '" + std::string(operand.type_name()) +
                    "'"};
    std::int64_t result = operand.integer();
    if (negates && __builtin_sub_overflow(std::int64_t{0}, result, &result))
      throw failure{"an integer does not fit 64 bits"};
    return value(result);
  }

  value operator()(const binary_node& node) {
    const value left = run_.evaluate(*node.left);
    return run_.apply_operator(node.operation, left, run_.evaluate(*node.right));
  }

  value operator()(const concat_node& node) {
    std::string out;
    for (const auto& child : node.items) {
      const value item = run_.evaluate(*child);
      run_.charge_steps(item.weight());
      const std::string part = to_text(item);
      run_.charge_string(out.size() + part.size());
      out += part;
    }
    return value(std::move(out));
  }

  value operator()(const logical_node& node) {
    value left = run_.evaluate(*node.left);
    if (left.is_truthy() != node.is_and) return left;
    return run_.evaluate(*node.right);
  }

  value operator()(const comparison_node& node) {
    value left = run_.evaluate(*node.first);
    for (const auto& [operation, operand] : node.rest) {
      value right = run_.evaluate(*operand);
      if (!holds(operation, left, right)) return value(false);
      left = std::move(right);
    }
    return value(true);
  }

  value operator()(const conditional_node& node) {
    if (run_.evaluate(*node.test).is_truthy()) return run_.evaluate(*node.then);
    if (node.otherwise) return run_.evaluate(*node.otherwise);
    return value::undefined(
        "the inline if-expression evaluated to false and no else section was defined");
  }

  value operator()(const attribute_node& node) {
    return run_.attribute(run_.evaluate(*node.owner), node.name);
  }

  value operator()(const subscript_node& node) {
    const value owner = run_.evaluate(*node.owner);
    return run_.item(owner, run_.evaluate(*node.index));
  }

  value operator()(const slice_node& node) {
    const value owner = run_.evaluate(*node.owner);
    const auto bound = [&](const expression_ptr& child) {
      return child ? run_.evaluate(*child) : value();
    };
    const slice_bounds bounds{bound(node.start), bound(node.stop), bound(node.step)};
    if (owner.is(kind::undefined)) throw failure{owner.undefined_message()};
    if (owner.is(kind::string)) {
      run_.charge_string(owner.bytes().size());
      return value(slice_text(owner.string(), bounds), owner.string().is_markup);
    }
    if (const auto* range = owner.as<range_object>()) return range->slice(bounds);
    if (!owner.is_sequence())
      throw failure{"'" + std::string(owner.type_name()) + "' object cannot be sliced"};
    const std::vector<value> items = run_.elements(owner);
    std::vector<value> picked;
    for (const std::size_t index : slice_indices(bounds, items.size()))
      picked.push_back(items[index]);
    return owner.is(kind::tuple) ? run_.make_tuple(std::move(picked))
                                 : run_.make_list(std::move(picked));
  }

  value operator()(const call_node& node) {
    const value callee = run_.evaluate(*node.callee);
    return run_.call(callee, run_.evaluate_arguments(node.args));
  }

  value operator()(const filter_node& node) {
    if (node.function == nullptr) throw failure{"No filter named '" + node.name + "'"};
    const value operand = node.operand ? run_.evaluate(*node.operand) : *run_.block_text_;
    return node.function(run_, operand, run_.evaluate_arguments(node.args));
  }

  value operator()(const test_node& node) {
    if (node.function == nullptr) throw failure{"No test named '" + node.name + "'"};
    const value operand = run_.evaluate(*node.operand);
    return value(node.function(run_, operand, run_.evaluate_arguments(node.args)));
  }

 private:
  std::vector<value> all(const std::vector<expression_ptr>& children) {
    std::vector<value> items;
    items.reserve(children.size());
    for (const auto& child : children) items.push_back(run_.evaluate(*child));
    return items;
  }

  bool holds(comparison operation, const value& left, const value& right) {
    switch (operation) {
      case comparison::equal: return run_.is_equal(left, right);
      case comparison::not_equal: return !run_.is_equal(left, right);
      case comparison::in: return run_.contains(right, left);
      case comparison::not_in: return !run_.contains(right, left);
      case comparison::less: return run_.compare(left, right, "<") == -1;
      case comparison::greater: return run_.compare(left, right, ">") == 1;
      case comparison::less_equal: {
        const auto order = run_.compare(left, right, "<=");
        return order && *order <= 0;
      }
      case comparison::greater_equal: {
        const auto order = run_.compare(left, right, ">=");
        return order && *order >= 0;
      }
    }
    return false;
  }

  interpreter& run_;
};

value interpreter::evaluate(const expression& node) {
  const recursion guard(*this);
  charge_steps(1);
  line_ = node.line;
  return std::visit(expression_evaluator(*this), node.form);
}

value interpreter::look_up(const std::string& name) const {
  for (const scope* at = scope_.get(); at != nullptr; at = at->parent.get())
    for (const auto& [known, item] : at->variables)
      if (known == name) return item;
  if (const auto found = context_.find(name); found != context_.end()) return found->second;
  if (auto found = find_global(name)) return *found;
  return value::undefined("'" + name + "' is undefined");
}

arguments interpreter::evaluate_arguments(const call_syntax& call) {
  arguments args;
  args.positional.reserve(call.positional.size());
  for (const auto& child : call.positional) args.positional.push_back(evaluate(*child));
  for (const auto& [name, child] : call.keyword) args.keyword.emplace_back(name, evaluate(*child));
  if (call.unpacked_list) {
    for (value& item : elements(evaluate(*call.unpacked_list)))
      args.positional.push_back(std::move(item));
  }
  if (!call.unpacked_dict) return args;
  const value rest = evaluate(*call.unpacked_dict);
  if (!rest.is(kind::dict)) throw failure{"argument after ** must be a mapping"};
  for (const auto& [key, item] : rest.entries().entries()) {
    if (!key.is(kind::string)) throw failure{"keywords must be strings"};
    const auto is_named = [&](const auto& row) { return row.first == key.bytes(); };
    if (std::any_of(args.keyword.begin(), args.keyword.end(), is_named))
      throw failure{"got multiple values for keyword argument '" + key.string().bytes + "'"};
    args.keyword.emplace_back(key.string().bytes, item);
  }
  return args;
}

value interpreter::apply_filter_chain(const expression& node, const value& operand) {
  const value* outer = std::exchange(block_text_, &operand);
  struct restore {
    const value*& slot;
    const value* held;
    ~restore() { slot = held; }
  } guard{block_text_, outer};
  return evaluate(node);
}

}  // namespace troupe::jinja
