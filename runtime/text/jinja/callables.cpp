// Calls of macros and recursive loops, and the attributes of `loop`.
#include "runtime/text/jinja/callables.hpp"

#include <algorithm>

namespace troupe::jinja {
namespace {

value count(std::size_t number) {
  return value(static_cast<std::int64_t>(number));
}

value loop_method(std::shared_ptr<loop_object> loop, std::string_view name, std::size_t index) {
  if (name == "cycle")
    return make_function("cycle", [index](interpreter&, arguments args) {
      if (args.positional.empty()) throw failure{"no items for cycling given"};
      return args.positional[index % args.positional.size()];
    });
  return make_function("changed", [loop](interpreter& run, arguments args) {
    return value(loop->changed(run, std::move(args.positional)));
  });
}

}  // namespace

std::optional<value> macro_object::attribute(interpreter&, std::string_view name) {
  if (name == "name") return value(macro_.name);
  if (name == "catch_kwargs") return value(macro_.uses_kwargs);
  if (name == "catch_varargs") return value(macro_.uses_varargs);
  if (name == "caller") return value(macro_.uses_caller);
  if (name != "arguments") return std::nullopt;
  std::vector<value> names;
  for (const auto& parameter : macro_.parameters) names.emplace_back(parameter.first);
  return value::tuple(std::move(names));
}

std::string loop_object::representation() const {
  return "<LoopContext " + std::to_string(index_ + 1) + "/" + std::to_string(items_->size()) + ">";
}

std::optional<value> loop_object::attribute(interpreter&, std::string_view name) {
  const std::size_t length = items_->size();
  if (name == "index") return count(index_ + 1);
  if (name == "index0") return count(index_);
  if (name == "first") return value(index_ == 0);
  if (name == "last") return value(index_ + 1 == length);
  if (name == "length") return count(length);
  if (name == "revindex") return count(length - index_);
  if (name == "revindex0") return count(length - index_ - 1);
  if (name == "depth") return value(std::int64_t{depth_} + 1);
  if (name == "depth0") return value(std::int64_t{depth_});
  if (name == "previtem")
    return index_ > 0 ? (*items_)[index_ - 1] : value::undefined("there is no previous item");
  if (name == "nextitem")
    return index_ + 1 < length ? (*items_)[index_ + 1] : value::undefined("there is no next item");
  if (name == "cycle" || name == "changed") return loop_method(shared_from_this(), name, index_);
  return std::nullopt;
}

value loop_object::call(interpreter& run, arguments args) {
  if (!loop_.is_recursive)
    throw failure{"The loop must have the 'recursive' marker to be called recursively."};
  const bound_arguments bound("loop", std::move(args), {{"", true}});
  std::string out;
  (void)run.run_loop(loop_, home_, run.elements(bound.at(0)), depth_ + 1, out);
  return run.make_text(std::move(out));
}

void loop_object::release() {
  home_.reset();
  items_ = std::make_shared<const std::vector<value>>();
  last_seen_.reset();
}

bool loop_object::changed(interpreter& run, std::vector<value> now) {
  const bool is_same =
      last_seen_ && std::equal(now.begin(), now.end(), last_seen_->begin(), last_seen_->end(),
                               [&](const value& a, const value& b) { return run.is_equal(a, b); });
  if (is_same) return false;
  last_seen_ = std::move(now);
  return true;
}

}  // namespace troupe::jinja
