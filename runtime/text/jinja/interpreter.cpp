// Limits, attribute and item access, iteration, containment.
#include "runtime/text/jinja/interpreter.hpp"

#include <algorithm>
#include <utility>

#include "config/limits.hpp"
#include "runtime/text/jinja/builtins.hpp"
#include "runtime/text/jinja/callables.hpp"
#include "runtime/text/jinja/slicing.hpp"
#include "runtime/text/jinja/unicode.hpp"

namespace troupe::jinja {
namespace {

// One step pays for so many bytes compared, copied or searched.
constexpr std::size_t bytes_per_step = 64;

value missing(const value& owner, const std::string& name) {
  return value::undefined("'" + std::string(owner.type_name()) + " object' has no attribute '" +
                          name + "'");
}

std::optional<value> find_attribute(interpreter& run, const value& owner, std::string_view name) {
  switch (owner.type()) {
    case kind::string: return find_string_method(owner, name);
    case kind::list:
    case kind::tuple:
    case kind::dict: return find_container_method(owner, name);
    case kind::object: return owner.thing()->attribute(run, name);
    default: return std::nullopt;
  }
}

std::optional<value> find_item(interpreter& run, const value& owner, const value& key) {
  switch (owner.type()) {
    case kind::dict: {
      const value* found = is_hashable(key) ? owner.entries().find(key) : nullptr;
      return found == nullptr ? std::nullopt : std::optional(*found);
    }
    case kind::list:
    case kind::tuple: {
      if (!key.is_integral()) return std::nullopt;
      const auto index = wrap_index(key.integer(), owner.elements().items.size());
      return index ? std::optional(owner.elements().items[*index]) : std::nullopt;
    }
    case kind::string: {
      if (!key.is_integral()) return std::nullopt;
      const auto index = wrap_index(key.integer(), owner.string().length);
      if (!index) return std::nullopt;
      run.charge_steps(owner.bytes().size() / bytes_per_step);
      return value(std::string(text_at(owner.string(), *index)), owner.string().is_markup);
    }
    case kind::object: return owner.thing()->item(run, key);
    default: return std::nullopt;
  }
}

std::vector<value> characters(interpreter& run, const value& source) {
  run.charge_steps(source.string().length);
  run.charge_bytes(source.string().length * sizeof(text));
  std::vector<value> items;
  items.reserve(source.string().length);
  const std::string_view bytes = source.bytes();
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t start = i;
    (void)next_code_point(bytes, i);
    items.emplace_back(std::string(bytes.substr(start, i - start)));
  }
  return items;
}

}  // namespace

interpreter::~interpreter() {
  for (const auto& space : namespaces_) space->clear();
  for (const auto& loop : loops_) loop->release();
  for (const auto& captured : captured_scopes_) captured->variables.clear();
}

interpreter::recursion::recursion(interpreter& owner) : owner_(owner) {
  if (++owner_.depth_ <= limits::template_recursion_max) return;
  --owner_.depth_;
  throw failure{"maximum recursion depth exceeded"};
}

void interpreter::charge_steps(std::uint64_t count) {
  steps_ += std::min(count, limits::template_steps_max + 1);
  if (steps_ > limits::template_steps_max)
    throw failure{"the template takes more than " + std::to_string(limits::template_steps_max) +
                  " steps"};
}

void interpreter::charge_bytes(std::size_t count) {
  bytes_ += std::min(count, limits::template_allocated_bytes_max + 1);
  if (bytes_ > limits::template_allocated_bytes_max)
    throw failure{"the template uses more than " +
                  std::to_string(limits::template_allocated_bytes_max) + " bytes of memory"};
}

void interpreter::charge_string(std::size_t bytes) {
  if (bytes > limits::template_string_bytes_max)
    throw failure{"the template makes a string of more than " +
                  std::to_string(limits::template_string_bytes_max) + " bytes"};
  charge_bytes(bytes + sizeof(text));
  charge_steps(bytes / bytes_per_step);
}

value interpreter::make_text(std::string bytes, bool is_markup) {
  charge_string(bytes.size());
  return value(std::move(bytes), is_markup);
}

value interpreter::make_list(std::vector<value> items) {
  charge_steps(items.size());
  charge_bytes(items.size() * sizeof(value));
  return value::list(std::move(items));
}

value interpreter::make_tuple(std::vector<value> items) {
  charge_steps(items.size());
  charge_bytes(items.size() * sizeof(value));
  return value::tuple(std::move(items));
}

value interpreter::attribute(const value& owner, std::string_view name) {
  if (owner.is(kind::undefined) && name != "__class__") throw failure{owner.undefined_message()};
  if (name.starts_with("__"))
    return value::undefined("access to attribute '" + std::string(name) + "' is unsafe");
  if (auto found = find_attribute(*this, owner, name)) return *found;
  if (owner.is(kind::dict)) {
    if (const value* found = owner.entries().find(name)) return *found;
  }
  return missing(owner, std::string(name));
}

value interpreter::item(const value& owner, const value& key) {
  if (owner.is(kind::undefined)) throw failure{owner.undefined_message()};
  if (auto found = find_item(*this, owner, key)) return *found;
  if (key.is(kind::string) && !key.bytes().starts_with("__")) {
    if (auto found = find_attribute(*this, owner, key.bytes())) return *found;
  }
  return missing(owner, to_text(key));
}

value interpreter::item_path(const value& owner, const value& path) {
  if (!path.is(kind::string)) return path.is(kind::none) ? owner : item(owner, path);
  value found = owner;
  std::string_view rest = path.bytes();
  while (true) {
    const std::size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    const auto index = parse_integer(part, 10);
    const bool is_index = index && part.find_first_not_of("0123456789") == std::string_view::npos;
    found = item(found, is_index ? value(*index) : value(std::string(part)));
    if (dot == std::string_view::npos) return found;
    rest.remove_prefix(dot + 1);
  }
}

value interpreter::call(const value& callee, arguments args) {
  const recursion guard(*this);
  if (callee.is(kind::undefined)) throw failure{callee.undefined_message()};
  if (!callee.is(kind::object))
    throw failure{"'" + std::string(callee.type_name()) + "' object is not callable"};
  const auto held = callee.thing();
  return held->call(*this, std::move(args));
}

std::vector<value> interpreter::elements(const value& source) {
  switch (source.type()) {
    case kind::undefined: return {};
    case kind::string: return characters(*this, source);
    case kind::list:
    case kind::tuple: charge_steps(source.elements().items.size()); return source.elements().items;
    case kind::dict: {
      std::vector<value> keys;
      for (const auto& entry : source.entries().entries()) keys.push_back(entry.first);
      charge_steps(keys.size());
      return keys;
    }
    case kind::object:
      if (auto items = source.thing()->iterate()) {
        charge_steps(items->size());
        return std::move(*items);
      }
      break;
    default: break;
  }
  throw failure{"'" + std::string(source.type_name()) + "' object is not iterable"};
}

bool interpreter::contains(const value& container, const value& wanted) {
  if (container.is(kind::dict)) {
    if (!is_hashable(wanted))
      throw failure{"unhashable type: '" + std::string(wanted.type_name()) + "'"};
    return container.entries().find(wanted) != nullptr;
  }
  if (container.is(kind::string)) {
    if (!wanted.is(kind::string))
      throw failure{"'in <string>' requires string as left operand, not " +
                    std::string(wanted.type_name())};
    charge_steps(container.bytes().size() / bytes_per_step);
    return container.bytes().find(wanted.bytes()) != std::string_view::npos;
  }
  const auto items = elements(container);
  return std::any_of(items.begin(), items.end(),
                     [&](const value& item) { return is_equal(item, wanted); });
}

std::size_t interpreter::weight_of(const value& item) {
  return item.is(kind::string) ? item.bytes().size() / bytes_per_step + 1 : item.weight();
}

bool interpreter::is_equal(const value& a, const value& b) {
  charge_steps(std::min(weight_of(a), weight_of(b)));
  return equal(a, b);
}

std::optional<int> interpreter::compare(const value& a, const value& b,
                                        std::string_view operation) {
  charge_steps(std::min(weight_of(a), weight_of(b)));
  return order(a, b, operation);
}

value interpreter::apply_filter(std::string_view name, const value& operand, arguments args) {
  const filter_function function = find_filter(name);
  if (function == nullptr) throw failure{"No filter named '" + std::string(name) + "'"};
  return function(*this, operand, std::move(args));
}

bool interpreter::apply_test(std::string_view name, const value& operand, const arguments& args) {
  const test_function function = find_test(name);
  if (function == nullptr) throw failure{"No test named '" + std::string(name) + "'"};
  return function(*this, operand, args);
}

value interpreter::make_namespace() {
  auto made = std::make_shared<namespace_object>();
  charge_bytes(sizeof(namespace_object));
  namespaces_.push_back(made);
  return value(std::shared_ptr<object>(std::move(made)));
}

}  // namespace troupe::jinja
