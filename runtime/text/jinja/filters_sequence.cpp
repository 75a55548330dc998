// Filters on sequences and mappings that keep or cut their order.
#include <algorithm>

#include "runtime/text/jinja/builtins.hpp"
#include "runtime/text/jinja/interpreter.hpp"
#include "runtime/text/jinja/slicing.hpp"

namespace troupe::jinja::filters {
namespace {

// What Python's reversed() takes: everything iterable except one-way iterators.
bool is_reversible(const value& operand) {
  return operand.as<iterator_object>() == nullptr &&
         (!operand.is(kind::object) || operand.thing()->length().has_value());
}

}  // namespace

value attr(interpreter& run, const value& operand, arguments args) {
  const bound_arguments bound("attr", std::move(args), {{"name", true}});
  const std::string_view name = bound.string(0);
  if (!operand.is(kind::dict)) return run.attribute(operand, name);
  return find_container_method(operand, name)
      .value_or(value::undefined("'dict object' has no attribute '" + std::string(name) + "'"));
}

value batch(interpreter& run, const value& operand, arguments args) {
  const bound_arguments bound("batch", std::move(args), {{"linecount", true}, {"fill_with"}});
  return make_generator([&](std::vector<value>& rows) {
    const auto is_full = [&](const std::vector<value>& row) {
      return equal(value(static_cast<std::int64_t>(row.size())), bound.at(0));
    };
    std::vector<value> row;
    for (value& item : run.elements(operand)) {
      if (is_full(row)) rows.push_back(run.make_list(std::exchange(row, {})));
      row.push_back(std::move(item));
    }
    if (row.empty()) return;
    const auto missing =
        bound.is_none(1) ? 0 : to_index(bound.at(0)) - static_cast<std::int64_t>(row.size());
    for (std::int64_t i = 0; i < missing; ++i) {
      run.charge_steps(1);
      run.charge_bytes(sizeof(value));
      row.push_back(bound.at(1));
    }
    rows.push_back(run.make_list(std::move(row)));
  });
}

value default_value(interpreter&, const value& operand, arguments args) {
  const bound_arguments bound("default", std::move(args), {{"default_value"}, {"boolean"}});
  const bool replaces =
      operand.is(kind::undefined) || (bound.truthy(1, false) && !operand.is_truthy());
  if (!replaces) return operand;
  return bound.has(0) ? bound.at(0) : value(std::string());
}

value first(interpreter& run, const value& operand, arguments args) {
  (void)bound_arguments("first", std::move(args), {});
  if (auto* iterator = operand.as<iterator_object>())
    return iterator->next().value_or(value::undefined("No first item, sequence was empty."));
  if (operand.is(kind::string) && !operand.bytes().empty())
    return run.item(operand, value(std::int64_t{0}));
  if (operand.is_sequence() && !operand.elements().items.empty())
    return operand.elements().items.front();
  const auto items = run.elements(operand);
  return items.empty() ? value::undefined("No first item, sequence was empty.") : items.front();
}

value last(interpreter& run, const value& operand, arguments args) {
  (void)bound_arguments("last", std::move(args), {});
  if (!is_reversible(operand))
    throw failure{"'" + std::string(operand.type_name()) + "' object is not reversible"};
  if (operand.is_sequence() && !operand.elements().items.empty())
    return operand.elements().items.back();
  const auto items = run.elements(operand);
  return items.empty() ? value::undefined("No last item, sequence was empty.") : items.back();
}

value length(interpreter&, const value& operand, arguments args) {
  (void)bound_arguments("length", std::move(args), {});
  const auto count = [](std::size_t size) { return value(static_cast<std::int64_t>(size)); };
  switch (operand.type()) {
    case kind::undefined: return count(0);
    case kind::string: return count(operand.string().length);
    case kind::list:
    case kind::tuple: return count(operand.elements().items.size());
    case kind::dict: return count(operand.entries().size());
    case kind::object:
      if (const auto size = operand.thing()->length()) return count(*size);
      break;
    default: break;
  }
  throw failure{"object of type '" + std::string(operand.type_name()) + "' has no len()"};
}

value list(interpreter& run, const value& operand, arguments args) {
  (void)bound_arguments("list", std::move(args), {});
  return run.make_list(run.elements(operand));
}

value items(interpreter& run, const value& operand, arguments args) {
  (void)bound_arguments("items", std::move(args), {});
  return make_generator([&](std::vector<value>& pairs) {
    if (operand.is(kind::undefined)) return;
    if (!operand.is(kind::dict)) throw failure{"Can only get item pairs from a mapping."};
    for (const auto& [key, item] : operand.entries().entries())
      pairs.push_back(run.make_tuple({key, item}));
  });
}

value reverse(interpreter& run, const value& operand, arguments args) {
  (void)bound_arguments("reverse", std::move(args), {});
  if (operand.is(kind::string)) {
    const slice_bounds backwards{value(), value(), value(std::int64_t{-1})};
    return run.make_text(slice_text(operand.string(), backwards), operand.string().is_markup);
  }
  std::vector<value> elements = run.elements(operand);
  std::reverse(elements.begin(), elements.end());
  if (!is_reversible(operand)) return run.make_list(std::move(elements));
  return make_iterator(std::move(elements), "list_reverseiterator");
}

value slice(interpreter& run, const value& operand, arguments args) {
  const bound_arguments bound("slice", std::move(args), {{"slices", true}, {"fill_with"}});
  return make_generator([&](std::vector<value>& rows) {
    const std::vector<value> source = run.elements(operand);
    const std::int64_t slices = bound.integer(0, 0);
    if (slices == 0) throw failure{"integer division or modulo by zero"};
    const auto length = static_cast<std::int64_t>(source.size());
    std::int64_t start = 0;
    for (std::int64_t row = 0; row < slices; ++row) {
      const bool has_extra = row < length % slices;
      const std::int64_t end = start + length / slices + (has_extra ? 1 : 0);
      std::vector<value> part(source.begin() + start, source.begin() + end);
      if (!bound.is_none(1) && !has_extra) part.push_back(bound.at(1));
      rows.push_back(run.make_list(std::move(part)));
      run.charge_steps(1);
      run.charge_bytes(sizeof(sequence));
      start = end;
    }
  });
}

}  // namespace troupe::jinja::filters
