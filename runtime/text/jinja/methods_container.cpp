// The methods of lists, tuples and dicts. Those that would change them exist and are forbidden.
#include <algorithm>
#include <span>

#include "runtime/text/jinja/builtins.hpp"
#include "runtime/text/jinja/interpreter.hpp"

namespace troupe::jinja {
namespace {

using method = value (*)(interpreter&, const value&, arguments);

value dict_get(interpreter&, const value& self, arguments args) {
  const bound_arguments bound("get", std::move(args), {{"", true}, {""}});
  if (!is_hashable(bound.at(0)))
    throw failure{"unhashable type: '" + std::string(bound.at(0).type_name()) + "'"};
  const value* found = self.entries().find(bound.at(0));
  return found == nullptr ? bound.at(1) : *found;
}

value view(std::vector<value> items, std::string_view name) {
  return value(std::shared_ptr<object>(std::make_shared<view_object>(std::move(items), name)));
}

value dict_items(interpreter& run, const value& self, arguments args) {
  (void)bound_arguments("items", std::move(args), {});
  std::vector<value> pairs;
  for (const auto& [key, item] : self.entries().entries())
    pairs.push_back(run.make_tuple({key, item}));
  return view(std::move(pairs), "dict_items");
}

value dict_keys(interpreter& run, const value& self, arguments args) {
  (void)bound_arguments("keys", std::move(args), {});
  return view(run.elements(self), "dict_keys");
}

value dict_values(interpreter& run, const value& self, arguments args) {
  (void)bound_arguments("values", std::move(args), {});
  std::vector<value> items;
  for (const auto& entry : self.entries().entries()) items.push_back(entry.second);
  run.charge_steps(items.size());
  return view(std::move(items), "dict_values");
}

value copy(interpreter&, const value& self, arguments args) {
  (void)bound_arguments("copy", std::move(args), {});
  return self;
}

value sequence_count(interpreter& run, const value& self, arguments args) {
  const bound_arguments bound("count", std::move(args), {{"", true}});
  const auto& items = self.elements().items;
  return value(
      static_cast<std::int64_t>(std::count_if(items.begin(), items.end(), [&](const value& item) {
        return run.is_equal(item, bound.at(0));
      })));
}

value sequence_index(interpreter& run, const value& self, arguments args) {
  const bound_arguments bound("index", std::move(args), {{"", true}, {""}, {""}});
  const auto& items = self.elements().items;
  const auto length = static_cast<std::int64_t>(items.size());
  const auto clip = [&](std::size_t argument, std::int64_t otherwise) {
    const std::int64_t index = bound.integer(argument, otherwise);
    return index < 0 ? std::max<std::int64_t>(0, index + length) : std::min(index, length);
  };
  const std::int64_t stop = clip(2, length);
  for (std::int64_t i = clip(1, 0); i < stop; ++i)
    if (run.is_equal(items[static_cast<std::size_t>(i)], bound.at(0))) return value(i);
  throw failure{"the value is not in the list"};
}

struct row {
  std::string_view name;
  method function;  ///< null: forbidden
};

constexpr row dict_table[] = {{"get", dict_get},       {"items", dict_items}, {"keys", dict_keys},
                              {"values", dict_values}, {"copy", copy},        {"clear", nullptr},
                              {"pop", nullptr},        {"popitem", nullptr},  {"update", nullptr},
                              {"setdefault", nullptr}};
constexpr row tuple_table[] = {{"count", sequence_count}, {"index", sequence_index}};
constexpr row list_table[] = {
    {"count", sequence_count}, {"index", sequence_index}, {"copy", copy},     {"append", nullptr},
    {"clear", nullptr},        {"pop", nullptr},          {"sort", nullptr},  {"reverse", nullptr},
    {"insert", nullptr},       {"extend", nullptr},       {"remove", nullptr}};

std::optional<value> bound_method(std::span<const row> table, const value& owner,
                                  std::string_view name) {
  for (const row& entry : table) {
    if (entry.name != name) continue;
    if (entry.function == nullptr)
      return value::undefined("access to attribute '" + std::string(name) + "' of '" +
                              std::string(owner.type_name()) + "' object is unsafe");
    return make_function(
        std::string(name),
        [owner, function = entry.function](interpreter& run, arguments args) {
          return function(run, owner, std::move(args));
        },
        owner.depth());
  }
  return std::nullopt;
}

}  // namespace

std::optional<value> find_container_method(const value& owner, std::string_view name) {
  if (owner.is(kind::dict)) return bound_method(dict_table, owner, name);
  if (owner.is(kind::list)) return bound_method(list_table, owner, name);
  if (owner.elements().is_group && owner.elements().items.size() == 2) {
    if (name == "grouper") return owner.elements().items[0];
    if (name == "list") return owner.elements().items[1];
  }
  return bound_method(tuple_table, owner, name);
}

}  // namespace troupe::jinja
