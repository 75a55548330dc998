// The values of the template language: Python's None, bool, int, float, str, list, tuple and dict,
// Jinja's Undefined, and objects (ranges, macros, namespaces ...). Strings and containers are
// immutable and shared; only a namespace can change. Integers are 64 bits, and an overflow is an
// error, where Python would go on with big integers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

namespace troupe::jinja {

class interpreter;
class value;
struct arguments;

/// What Python would raise. Thrown inside this folder only, because an error ends the whole
/// rendering from any depth; chat_template.cpp turns it into an error value.
struct failure {
  std::string message;
  int line = 0;  ///< 0: not known yet
};

struct text {
  std::string bytes;       ///< valid UTF-8
  std::size_t length = 0;  ///< code points
  bool is_markup = false;  ///< made by |escape or |safe: joins by escaping the other side
};

struct sequence {
  std::vector<value> items;
  int depth = 1;           ///< containers nested in this one, itself included
  std::size_t weight = 1;  ///< elements in it and in all that it holds
  bool is_group = false;   ///< a tuple of |groupby, which also has .grouper and .list
};

class dictionary;

/// Everything that is not plain data.
class object {
 public:
  virtual ~object() = default;
  [[nodiscard]] virtual std::string_view type_name() const = 0;
  [[nodiscard]] virtual std::string representation() const;
  [[nodiscard]] virtual bool is_truthy() const;
  /// As value::depth() and value::weight(), through the values that it holds for good.
  [[nodiscard]] virtual int depth() const;
  [[nodiscard]] virtual std::size_t weight() const;
  /// Its elements; nullopt if it cannot be iterated. An iterator is exhausted by this.
  virtual std::optional<std::vector<value>> iterate();
  [[nodiscard]] virtual std::optional<std::size_t> length() const;
  virtual std::optional<value> attribute(interpreter& run, std::string_view name);
  virtual std::optional<value> item(interpreter& run, const value& key);
  [[nodiscard]] virtual bool is_callable() const;
  virtual value call(interpreter& run, arguments args);
};

/// Why a value is undefined; the message of the error that using it raises.
struct undefined_reason {
  std::string message;
};

enum class kind : std::uint8_t {
  undefined,
  none,
  boolean,
  integer,
  floating,
  string,
  list,
  tuple,
  dict,
  object
};

class value {
 public:
  value() : state_(std::in_place_index<1>) {}  ///< None
  explicit value(bool boolean) : state_(std::in_place_index<2>, boolean) {}
  explicit value(std::int64_t integer) : state_(std::in_place_index<3>, integer) {}
  explicit value(double number) : state_(std::in_place_index<4>, number) {}
  explicit value(std::string bytes, bool is_markup = false);
  explicit value(std::shared_ptr<object> thing)
      : state_(std::in_place_index<9>, std::move(thing)) {}

  static value undefined(std::string message);
  /// Throws failure when the nesting is too deep.
  static value list(std::vector<value> items);
  static value tuple(std::vector<value> items, bool is_group = false);
  static value dict(dictionary entries);
  /// Throws failure for integers beyond 64 bits and for nesting too deep.
  static value from_json(const nlohmann::ordered_json& json, int depth = 0);

  [[nodiscard]] kind type() const { return static_cast<kind>(state_.index()); }
  [[nodiscard]] bool is(kind wanted) const { return type() == wanted; }
  [[nodiscard]] bool is_sequence() const { return is(kind::list) || is(kind::tuple); }
  /// bool, int or float: Python's bool is an int.
  [[nodiscard]] bool is_number() const {
    return is(kind::boolean) || is(kind::integer) || is(kind::floating);
  }
  [[nodiscard]] bool is_integral() const { return is(kind::boolean) || is(kind::integer); }

  [[nodiscard]] bool boolean() const { return std::get<2>(state_); }
  /// Of a bool or an int.
  [[nodiscard]] std::int64_t integer() const {
    return is(kind::boolean) ? std::int64_t{boolean()} : std::get<3>(state_);
  }
  /// Of a bool, an int or a float.
  [[nodiscard]] double number() const {
    return is(kind::floating) ? std::get<4>(state_) : static_cast<double>(integer());
  }
  [[nodiscard]] const text& string() const { return *std::get<5>(state_); }
  [[nodiscard]] std::string_view bytes() const { return string().bytes; }
  /// Of a list or a tuple.
  [[nodiscard]] const sequence& elements() const {
    return is(kind::list) ? *std::get<6>(state_) : *std::get<7>(state_);
  }
  [[nodiscard]] const dictionary& entries() const { return *std::get<8>(state_); }
  [[nodiscard]] const std::shared_ptr<object>& thing() const { return std::get<9>(state_); }
  [[nodiscard]] const std::string& undefined_message() const {
    return std::get<0>(state_)->message;
  }

  /// The object as a T, or null.
  template <class T>
  [[nodiscard]] T* as() const {
    return is(kind::object) ? dynamic_cast<T*>(thing().get()) : nullptr;
  }

  [[nodiscard]] bool is_truthy() const;
  /// Containers nested in it; 0 for a scalar.
  [[nodiscard]] int depth() const;
  /// What walking over all of it costs; 1 for a scalar.
  [[nodiscard]] std::size_t weight() const;
  /// Python's name of its type, for messages.
  [[nodiscard]] std::string_view type_name() const;
  /// Python's `is`.
  [[nodiscard]] bool is_same(const value& other) const;

 private:
  std::variant<std::shared_ptr<const undefined_reason>, std::monostate, bool, std::int64_t, double,
               std::shared_ptr<const text>, std::shared_ptr<const sequence>,
               std::shared_ptr<const sequence>, std::shared_ptr<const dictionary>,
               std::shared_ptr<object>>
      state_;
};

/// An insertion-ordered map. Keys compare as in Python (1 == 1.0 == True).
class dictionary {
 public:
  using entry = std::pair<value, value>;
  /// Replaces the value of an equal key. Throws failure if the key cannot be hashed.
  void insert(value key, value item);
  [[nodiscard]] const value* find(const value& key) const;
  [[nodiscard]] const value* find(std::string_view key) const;
  [[nodiscard]] const std::vector<entry>& entries() const { return entries_; }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] int depth() const { return depth_; }
  [[nodiscard]] std::size_t weight() const { return weight_; }

 private:
  [[nodiscard]] std::optional<std::size_t> position(const value& key) const;
  std::vector<entry> entries_;
  std::unordered_map<std::string, std::size_t> index_;  ///< by key_text()
  int depth_ = 1;
  std::size_t weight_ = 1;
};

/// Python's hash() works on it: everything but lists, dicts and tuples that hold some.
[[nodiscard]] bool is_hashable(const value& key);

/// What a call passes.
struct arguments {
  std::vector<value> positional;
  std::vector<std::pair<std::string, value>> keyword;
};

/// Python's str() and repr(). Throws failure on cycles through namespaces.
[[nodiscard]] std::string to_text(const value& item);
[[nodiscard]] std::string representation(const value& item, int depth = 0);
[[nodiscard]] std::string float_text(double number);

/// Python's ==. Never fails.
[[nodiscard]] bool equal(const value& a, const value& b);
/// Python's <, as -1, 0 or 1. Throws failure where Python raises TypeError; an unordered pair
/// (NaN) gives nullopt.
[[nodiscard]] std::optional<int> order(const value& a, const value& b, std::string_view operation);

struct json_options {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  ///< one level of it
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};

/// Python's json.dumps. Throws failure for what JSON cannot hold.
[[nodiscard]] std::string to_json(const value& item, const json_options& options);

}  // namespace troupe::jinja
