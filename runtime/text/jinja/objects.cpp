// Ranges, iterators, views, namespaces and the matching of arguments to parameters.
#include "runtime/text/jinja/objects.hpp"

#include <algorithm>
#include <utility>

#include "config/limits.hpp"
#include "runtime/text/jinja/interpreter.hpp"
#include "runtime/text/jinja/slicing.hpp"

namespace troupe::jinja {
namespace {

int depth_above(const std::vector<value>& items) {
  int deepest = 0;
  for (const value& item : items) deepest = std::max(deepest, item.depth());
  if (deepest >= limits::template_value_depth_max) throw failure{"values are nested too deeply"};
  return deepest + 1;
}

}  // namespace

range_object::range_object(std::int64_t start, std::int64_t stop, std::int64_t step)
    : start_(start), stop_(stop), step_(step) {
  if (step == 0) throw failure{"range() arg 3 must not be zero"};
  // Unsigned arithmetic: stop - start may exceed 63 bits.
  const auto from = static_cast<std::uint64_t>(step > 0 ? start : stop);
  const auto to = static_cast<std::uint64_t>(step > 0 ? stop : start);
  const bool is_empty = step > 0 ? stop <= start : stop >= start;
  const std::uint64_t stride =
      step > 0 ? static_cast<std::uint64_t>(step) : 0 - static_cast<std::uint64_t>(step);
  const std::uint64_t length = is_empty ? 0 : (to - from - 1) / stride + 1;
  if (length > static_cast<std::uint64_t>(limits::template_range_length_max))
    throw failure{"Range too big. The sandbox blocks ranges larger than " +
                  std::to_string(limits::template_range_length_max)};
  length_ = static_cast<std::size_t>(length);
}

std::string range_object::representation() const {
  std::string out = "range(" + std::to_string(start_) + ", " + std::to_string(stop_);
  if (step_ != 1) out += ", " + std::to_string(step_);
  return out + ")";
}

std::optional<std::vector<value>> range_object::iterate() {
  std::vector<value> items;
  items.reserve(length_);
  for (std::size_t i = 0; i < length_; ++i) items.push_back(at(i));
  return items;
}

std::optional<value> range_object::item(interpreter&, const value& key) {
  if (!key.is_integral()) return std::nullopt;
  const auto index = wrap_index(key.integer(), length_);
  if (!index) return std::nullopt;
  return at(*index);
}

std::optional<value> range_object::attribute(interpreter& run, std::string_view name) {
  if (name == "start") return value(start_);
  if (name == "stop") return value(stop_);
  if (name == "step") return value(step_);
  if (name != "index" && name != "count") return std::nullopt;
  return run.attribute(value::list(*iterate()), name);
}

value range_object::slice(const slice_bounds& bounds) const {
  const auto [start, stop, step] = resolve_slice(bounds, length_);
  const auto at = [&](std::int64_t index) {
    std::int64_t offset = 0;
    if (__builtin_mul_overflow(index, step_, &offset) ||
        __builtin_add_overflow(start_, offset, &offset))
      throw failure{"an integer does not fit 64 bits"};
    return offset;
  };
  std::int64_t stride = 0;
  if (__builtin_mul_overflow(step, step_, &stride))
    throw failure{"an integer does not fit 64 bits"};
  return value(
      std::shared_ptr<object>(std::make_shared<range_object>(at(start), at(stop), stride)));
}

bool range_object::is_equal(const range_object& other) const {
  if (length_ != other.length_) return false;
  if (length_ == 0) return true;
  return start_ == other.start_ && (length_ == 1 || step_ == other.step_);
}

std::optional<std::vector<value>> iterator_object::iterate() {
  if (problem_) throw failure(*std::exchange(problem_, std::nullopt));
  return std::exchange(items_, {});
}

std::optional<value> iterator_object::next() {
  if (items_.empty() && problem_) throw failure(*std::exchange(problem_, std::nullopt));
  if (items_.empty()) return std::nullopt;
  std::optional<value> first(items_.front());
  items_.erase(items_.begin());
  return first;
}

std::string view_object::representation() const {
  return std::string(name_) + "(" + jinja::representation(items_) + ")";
}

std::string namespace_object::representation() const {
  if (is_printing_) throw failure{"maximum recursion depth exceeded while printing a namespace"};
  is_printing_ = true;
  struct reset {
    bool& flag;
    ~reset() { flag = false; }
  } guard{is_printing_};
  return "<Namespace " + jinja::representation(value::dict(attributes_)) + ">";
}

std::optional<value> namespace_object::attribute(interpreter&, std::string_view name) {
  const value* found = attributes_.find(name);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

std::optional<value> namespace_object::item(interpreter& run, const value& key) {
  return key.is(kind::string) ? attribute(run, key.bytes()) : std::nullopt;
}

void namespace_object::set(const std::string& name, value item) {
  if (name.starts_with('_'))
    throw failure{"a namespace cannot store an attribute that starts with an underscore: '" + name +
                  "'"};
  attributes_.insert(value(name), std::move(item));
}

iterator_object::iterator_object(std::vector<value> items, std::string_view name,
                                 std::optional<failure> problem)
    : items_(std::move(items)),
      depth_(depth_above(items_)),
      name_(name),
      problem_(std::move(problem)) {}

function_object::function_object(std::string name, body code, int depth)
    : name_(std::move(name)), code_(std::move(code)), depth_(depth + 1) {
  if (depth_ > limits::template_value_depth_max) throw failure{"values are nested too deeply"};
}

value make_function(std::string name, function_object::body code, int depth) {
  return value(std::make_shared<function_object>(std::move(name), std::move(code), depth));
}

value make_iterator(std::vector<value> items, std::string_view name) {
  return value(std::make_shared<iterator_object>(std::move(items), name));
}

bound_arguments::bound_arguments(std::string_view function, arguments args,
                                 std::vector<parameter> parameters)
    : function_(function), values_(parameters.size()) {
  if (args.positional.size() > parameters.size())
    throw failure{std::string(function) + "() takes at most " + std::to_string(parameters.size()) +
                  " arguments (" + std::to_string(args.positional.size()) + " given)"};
  for (std::size_t i = 0; i < args.positional.size(); ++i)
    values_[i] = std::move(args.positional[i]);
  for (auto& [name, item] : args.keyword) {
    const auto found = std::find_if(parameters.begin(), parameters.end(), [&](const auto& row) {
      return !row.name.empty() && row.name == name;
    });
    if (found == parameters.end())
      throw failure{std::string(function) + "() got an unexpected keyword argument '" + name + "'"};
    auto& slot = values_[static_cast<std::size_t>(found - parameters.begin())];
    if (slot)
      throw failure{std::string(function) + "() got multiple values for argument '" + name + "'"};
    slot = std::move(item);
  }
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (parameters[i].is_required && !values_[i])
      throw failure{
          std::string(function) + "() missing a required argument" +
          (parameters[i].name.empty() ? "" : ": '" + std::string(parameters[i].name) + "'")};
}

const value& bound_arguments::at(std::size_t index) const {
  static const value none;
  return values_[index] ? *values_[index] : none;
}

std::int64_t bound_arguments::integer(std::size_t index, std::int64_t otherwise) const {
  return has(index) ? to_index(at(index)) : otherwise;
}

bool bound_arguments::truthy(std::size_t index, bool otherwise) const {
  return has(index) ? at(index).is_truthy() : otherwise;
}

std::string_view bound_arguments::string(std::size_t index) const {
  if (!at(index).is(kind::string))
    throw failure{std::string(function_) + "() argument must be str, not " +
                  std::string(at(index).type_name())};
  return at(index).bytes();
}

std::int64_t to_index(const value& item) {
  if (item.is(kind::undefined)) throw failure{item.undefined_message()};
  if (!item.is_integral())
    throw failure{"'" + std::string(item.type_name()) +
                  "' object cannot be interpreted as an integer"};
  return item.integer();
}

}  // namespace troupe::jinja
