// The objects that templates meet: ranges, iterators, dict views, namespaces, callables.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/text/jinja/value.hpp"

namespace troupe::jinja {

struct slice_bounds;

/// range(start, stop, step).
class range_object final : public object {
 public:
  /// Throws failure for a zero step and for more than template_range_length_max elements.
  range_object(std::int64_t start, std::int64_t stop, std::int64_t step);
  [[nodiscard]] std::string_view type_name() const override { return "range"; }
  [[nodiscard]] std::string representation() const override;
  std::optional<std::vector<value>> iterate() override;
  [[nodiscard]] std::optional<std::size_t> length() const override { return length_; }
  std::optional<value> item(interpreter& run, const value& key) override;
  std::optional<value> attribute(interpreter& run, std::string_view name) override;
  [[nodiscard]] bool is_equal(const range_object& other) const;
  /// Another range, as Python gives it.
  [[nodiscard]] value slice(const slice_bounds& bounds) const;
  [[nodiscard]] value at(std::size_t index) const {
    return value(start_ + static_cast<std::int64_t>(index) * step_);
  }

 private:
  std::int64_t start_, stop_, step_;
  std::size_t length_ = 0;
};

/// A generator or iterator: it yields its elements once. They are computed ahead of time; a failure
/// among them is kept and thrown where it would be reached.
class iterator_object final : public object {
 public:
  explicit iterator_object(std::vector<value> items, std::string_view name = "generator",
                           std::optional<failure> problem = std::nullopt);
  [[nodiscard]] std::string_view type_name() const override { return name_; }
  [[nodiscard]] bool is_truthy() const override { return true; }
  std::optional<std::vector<value>> iterate() override;
  [[nodiscard]] int depth() const override { return depth_; }
  /// The next element alone, as next() takes it.
  std::optional<value> next();

 private:
  std::vector<value> items_;
  int depth_;
  std::string_view name_;
  std::optional<failure> problem_;
};

/// dict.keys(), .values() and .items().
class view_object final : public object {
 public:
  view_object(std::vector<value> items, std::string_view name)
      : items_(value::list(std::move(items))), name_(name) {}
  [[nodiscard]] std::string_view type_name() const override { return name_; }
  [[nodiscard]] std::string representation() const override;
  [[nodiscard]] int depth() const override { return items_.depth(); }
  [[nodiscard]] std::size_t weight() const override { return items_.weight(); }
  std::optional<std::vector<value>> iterate() override { return items_.elements().items; }
  [[nodiscard]] std::optional<std::size_t> length() const override {
    return items_.elements().items.size();
  }

 private:
  value items_;
  std::string_view name_;
};

/// namespace(...): the one thing that a template can change. The interpreter keeps every namespace
/// until the rendering ends and then empties it, which breaks cycles.
class namespace_object final : public object {
 public:
  [[nodiscard]] std::string_view type_name() const override { return "Namespace"; }
  [[nodiscard]] std::string representation() const override;
  std::optional<value> attribute(interpreter& run, std::string_view name) override;
  std::optional<value> item(interpreter& run, const value& key) override;
  /// Throws failure for names that start with an underscore.
  void set(const std::string& name, value item);
  void clear() { attributes_ = {}; }

 private:
  dictionary attributes_;
  mutable bool is_printing_ = false;
};

/// A builtin function or a method bound to its value.
class function_object final : public object {
 public:
  using body = std::function<value(interpreter&, arguments)>;
  /// `depth` is that of the values which the code holds.
  function_object(std::string name, body code, int depth = 0);
  [[nodiscard]] int depth() const override { return depth_; }
  [[nodiscard]] std::string_view type_name() const override { return "builtin_function_or_method"; }
  [[nodiscard]] std::string representation() const override {
    return "<built-in method " + name_ + ">";
  }
  [[nodiscard]] bool is_callable() const override { return true; }
  value call(interpreter& run, arguments args) override { return code_(run, std::move(args)); }

 private:
  std::string name_;
  body code_;
  int depth_;
};

[[nodiscard]] value make_function(std::string name, function_object::body code, int depth = 0);
[[nodiscard]] value make_iterator(std::vector<value> items, std::string_view name = "generator");

/// A generator of what `fill` appends to a vector, and of its failure, if there is one.
template <class Fill>
[[nodiscard]] value make_generator(Fill fill) {
  std::vector<value> items;
  std::optional<failure> problem;
  try {
    fill(items);
  } catch (const failure& raised) {
    problem = raised;
  }
  return value(std::shared_ptr<object>(
      std::make_shared<iterator_object>(std::move(items), "generator", std::move(problem))));
}

/// One parameter of a builtin. An empty name is positional only.
struct parameter {
  std::string_view name;
  bool is_required = false;
};

/// Arguments matched to parameters, as Python does for builtins. Throws failure for too many, too
/// few, unknown and repeated ones.
class bound_arguments {
 public:
  bound_arguments(std::string_view function, arguments args, std::vector<parameter> parameters);
  [[nodiscard]] bool has(std::size_t index) const { return values_[index].has_value(); }
  /// The argument, or None where it was left out.
  [[nodiscard]] const value& at(std::size_t index) const;
  [[nodiscard]] std::int64_t integer(std::size_t index, std::int64_t otherwise) const;
  [[nodiscard]] bool truthy(std::size_t index, bool otherwise) const;
  /// Throws failure if it is not a string.
  [[nodiscard]] std::string_view string(std::size_t index) const;
  [[nodiscard]] bool is_none(std::size_t index) const { return at(index).is(kind::none); }

 private:
  std::string_view function_;
  std::vector<std::optional<value>> values_;
};

/// Python's int from a bool or an int. Throws failure for other types.
[[nodiscard]] std::int64_t to_index(const value& item);

}  // namespace troupe::jinja
