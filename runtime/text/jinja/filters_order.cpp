// Filters that compare elements. Keys of strings are compared in lower case unless asked otherwise.
#include <algorithm>

#include "runtime/text/jinja/builtins.hpp"
#include "runtime/text/jinja/interpreter.hpp"
#include "runtime/text/jinja/text_operations.hpp"
#include "runtime/text/jinja/unicode.hpp"

namespace troupe::jinja::filters {
namespace {

struct keyed {
  value key, item;
};

value fold_case(const value& key, bool case_sensitive) {
  if (case_sensitive || !key.is(kind::string)) return key;
  return value(to_lower(key.bytes()));
}

// Stable; equal elements keep their order in reverse, too.
void sort_keyed(interpreter& run, std::vector<keyed>& rows, bool is_reversed) {
  if (is_reversed) std::reverse(rows.begin(), rows.end());
  std::stable_sort(rows.begin(), rows.end(), [&](const keyed& a, const keyed& b) {
    return run.compare(a.key, b.key, "<") == -1;
  });
  if (is_reversed) std::reverse(rows.begin(), rows.end());
}

std::vector<value> items_of(std::vector<keyed> rows) {
  std::vector<value> items;
  items.reserve(rows.size());
  for (keyed& row : rows) items.push_back(std::move(row.item));
  return items;
}

value extreme(interpreter& run, const value& operand, arguments args, bool is_maximum) {
  const bound_arguments bound(is_maximum ? "max" : "min", std::move(args),
                              {{"case_sensitive"}, {"attribute"}});
  std::optional<keyed> best;
  for (const value& item : run.elements(operand)) {
    keyed row{fold_case(run.item_path(item, bound.at(1)), bound.truthy(0, false)), item};
    const bool is_better =
        !best || run.compare(row.key, best->key, is_maximum ? ">" : "<") == (is_maximum ? 1 : -1);
    if (is_better) best = std::move(row);
  }
  return best ? best->item : value::undefined("No aggregated item, sequence was empty.");
}

}  // namespace

value dictsort(interpreter& run, const value& operand, arguments args) {
  const bound_arguments bound("dictsort", std::move(args),
                              {{"case_sensitive"}, {"by"}, {"reverse"}});
  const std::string by = bound.has(1) ? to_text(bound.at(1)) : "key";
  if (by != "key" && by != "value")
    throw failure{"You can only sort by either \"key\" or \"value\""};
  if (!operand.is(kind::dict))
    throw failure{"dictsort needs a mapping, not " + std::string(operand.type_name())};
  std::vector<keyed> rows;
  for (const auto& [key, item] : operand.entries().entries())
    rows.push_back(
        {fold_case(by == "key" ? key : item, bound.truthy(0, false)), run.make_tuple({key, item})});
  sort_keyed(run, rows, bound.truthy(2, false));
  return run.make_list(items_of(std::move(rows)));
}

value sort(interpreter& run, const value& operand, arguments args) {
  const bound_arguments bound("sort", std::move(args),
                              {{"reverse"}, {"case_sensitive"}, {"attribute"}});
  std::vector<value> paths = {bound.at(2)};
  if (bound.at(2).is(kind::string)) {
    paths.clear();
    for (std::string& part : split_on(bound.at(2).bytes(), ",", -1))
      paths.emplace_back(std::move(part));
  }
  std::vector<keyed> rows;
  for (value& item : run.elements(operand)) {
    std::vector<value> key;
    for (const value& path : paths)
      key.push_back(fold_case(run.item_path(item, path), bound.truthy(1, false)));
    rows.push_back({run.make_list(std::move(key)), std::move(item)});
  }
  sort_keyed(run, rows, bound.truthy(0, false));
  return run.make_list(items_of(std::move(rows)));
}

value unique(interpreter& run, const value& operand, arguments args) {
  const bound_arguments bound("unique", std::move(args), {{"case_sensitive"}, {"attribute"}});
  return make_generator([&](std::vector<value>& kept) {
    dictionary seen;
    for (value& item : run.elements(operand)) {
      value key = fold_case(run.item_path(item, bound.at(1)), bound.truthy(0, false));
      const std::size_t before = seen.size();
      seen.insert(std::move(key), value());
      if (seen.size() > before) kept.push_back(std::move(item));
    }
  });
}

value minimum(interpreter& run, const value& operand, arguments args) {
  return extreme(run, operand, std::move(args), false);
}

value maximum(interpreter& run, const value& operand, arguments args) {
  return extreme(run, operand, std::move(args), true);
}

value groupby(interpreter& run, const value& operand, arguments args) {
  const bound_arguments bound("groupby", std::move(args),
                              {{"attribute", true}, {"default"}, {"case_sensitive"}});
  const auto key_of = [&](const value& item) {
    value key = run.item_path(item, bound.at(0));
    return key.is(kind::undefined) && !bound.is_none(1) ? bound.at(1) : key;
  };
  std::vector<keyed> rows;
  for (value& item : run.elements(operand))
    rows.push_back({fold_case(key_of(item), bound.truthy(2, false)), item});
  sort_keyed(run, rows, false);
  std::vector<value> groups;
  for (std::size_t start = 0; start < rows.size();) {
    std::size_t end = start;
    std::vector<value> members;
    while (end < rows.size() && run.is_equal(rows[end].key, rows[start].key))
      members.push_back(rows[end++].item);
    // The group is named as its first member spells it.
    groups.push_back(
        value::tuple({key_of(rows[start].item), run.make_list(std::move(members))}, true));
    start = std::max(end, start + 1);
  }
  return run.make_list(std::move(groups));
}

}  // namespace troupe::jinja::filters
