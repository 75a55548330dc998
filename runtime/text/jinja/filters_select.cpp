// map, select and reject. Python computes their elements when they are asked for; here they are
// computed at once, up to the first failure.
#include <utility>

#include "runtime/text/jinja/builtins.hpp"
#include "runtime/text/jinja/interpreter.hpp"

namespace troupe::jinja::filters {
namespace {

std::string take_name(arguments& args) {
  if (!args.positional.front().is(kind::string))
    throw failure{"the name of a filter or test must be a string"};
  std::string name = args.positional.front().string().bytes;
  args.positional.erase(args.positional.begin());
  return name;
}

// The results of `step` for each element, as a generator: it appends to them.
template <class Step>
value generate(interpreter& run, const value& operand, Step step) {
  return make_generator([&](std::vector<value>& results) {
    for (value& item : run.elements(operand)) step(results, item);
  });
}

value map_attribute(interpreter& run, const value& operand, arguments args) {
  const bound_arguments bound("map", std::move(args), {{"attribute", true}, {"default"}});
  return generate(run, operand, [&](std::vector<value>& results, const value& item) {
    value found = run.item_path(item, bound.at(0));
    if (found.is(kind::undefined) && !bound.is_none(1)) found = bound.at(1);
    results.push_back(std::move(found));
  });
}

value pick(interpreter& run, const value& operand, arguments args, bool keeps, bool by_attribute) {
  if (!operand.is_truthy()) return make_iterator({});
  value path;
  if (by_attribute) {
    if (args.positional.empty()) throw failure{"Missing parameter for attribute name"};
    path = args.positional.front();
    args.positional.erase(args.positional.begin());
  }
  const bool has_test = !args.positional.empty();
  const std::string test = has_test ? take_name(args) : std::string();
  return generate(run, operand, [&](std::vector<value>& results, value& item) {
    const value subject = by_attribute ? run.item_path(item, path) : item;
    const bool passes = has_test ? run.apply_test(test, subject, args) : subject.is_truthy();
    if (passes == keeps) results.push_back(std::move(item));
  });
}

}  // namespace

value map(interpreter& run, const value& operand, arguments args) {
  if (!operand.is_truthy()) return make_iterator({});
  if (args.positional.empty() && !args.keyword.empty())
    return map_attribute(run, operand, std::move(args));
  if (args.positional.empty()) throw failure{"map requires a filter argument"};
  const std::string name = take_name(args);
  return generate(run, operand, [&](std::vector<value>& results, const value& item) {
    results.push_back(run.apply_filter(name, item, args));
  });
}

value select(interpreter& run, const value& operand, arguments args) {
  return pick(run, operand, std::move(args), true, false);
}
value reject(interpreter& run, const value& operand, arguments args) {
  return pick(run, operand, std::move(args), false, false);
}
value select_attribute(interpreter& run, const value& operand, arguments args) {
  return pick(run, operand, std::move(args), true, true);
}
value reject_attribute(interpreter& run, const value& operand, arguments args) {
  return pick(run, operand, std::move(args), false, true);
}

}  // namespace troupe::jinja::filters
