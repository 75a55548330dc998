// Construction, truth and identity of values, and the dictionary.
#include "runtime/text/jinja/value.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "config/limits.hpp"
#include "runtime/text/jinja/unicode.hpp"

namespace troupe::jinja {
namespace {

// Sharing makes it cheap to build a value that would take forever to walk over.
void check_extent(int depth, std::size_t weight) {
  if (depth > limits::template_value_depth_max)
    throw failure{"a list or dict is nested too deeply"};
  if (weight > limits::template_value_weight_max) throw failure{"a list or dict grows too large"};
}

std::shared_ptr<const sequence> make_sequence(std::vector<value> items, bool is_group) {
  sequence made;
  for (const value& item : items) {
    made.depth = std::max(made.depth, item.depth() + 1);
    made.weight += item.weight();
  }
  check_extent(made.depth, made.weight);
  made.items = std::move(items);
  made.is_group = is_group;
  return std::make_shared<const sequence>(std::move(made));
}

// Equal keys have equal texts: 1, 1.0 and True are one key.
std::string key_text(const value& key) {
  switch (key.type()) {
    case kind::undefined: return "u";
    case kind::none: return "n";
    case kind::boolean:
    case kind::integer: return "i" + std::to_string(key.integer());
    case kind::floating: {
      const double number = key.number();
      if (number == std::floor(number) && std::abs(number) < 9.2e18)
        return "i" + std::to_string(static_cast<std::int64_t>(number));
      return "f" + float_text(number);
    }
    case kind::string: return "s" + key.string().bytes;
    case kind::tuple: {
      std::string text = "t";
      for (const value& item : key.elements().items) {
        const std::string part = key_text(item);
        text += std::to_string(part.size()) + ":" + part;
      }
      return text;
    }
    case kind::object:
      return "o" + std::to_string(reinterpret_cast<std::uintptr_t>(key.thing().get()));
    case kind::list:
    case kind::dict: break;
  }
  throw failure{"unhashable type: '" + std::string(key.type_name()) + "'"};
}

// Below this size a scan is faster than an index, and messages are below it.
constexpr std::size_t indexed_size_min = 9;

}  // namespace

value::value(std::string bytes, bool is_markup) : state_(std::in_place_index<1>) {
  auto made = std::make_shared<text>();
  made->length = code_point_count(bytes);
  made->bytes = std::move(bytes);
  made->is_markup = is_markup;
  state_.emplace<5>(std::move(made));
}

value value::undefined(std::string message) {
  value made;
  made.state_.emplace<0>(
      std::make_shared<const undefined_reason>(undefined_reason{std::move(message)}));
  return made;
}

value value::list(std::vector<value> items) {
  value made;
  made.state_.emplace<6>(make_sequence(std::move(items), false));
  return made;
}

value value::tuple(std::vector<value> items, bool is_group) {
  value made;
  made.state_.emplace<7>(make_sequence(std::move(items), is_group));
  return made;
}

value value::dict(dictionary entries) {
  check_extent(entries.depth(), entries.weight());
  value made;
  made.state_.emplace<8>(std::make_shared<const dictionary>(std::move(entries)));
  return made;
}

value value::from_json(const nlohmann::ordered_json& json, int depth) {
  using json_kind = nlohmann::ordered_json::value_t;
  if (depth > limits::template_value_depth_max)
    throw failure{"the input is nested more than " +
                  std::to_string(limits::template_value_depth_max) + " levels deep"};
  switch (json.type()) {
    case json_kind::boolean: return value(json.get<bool>());
    case json_kind::number_integer: return value(json.get<std::int64_t>());
    case json_kind::number_unsigned: {
      const auto number = json.get<std::uint64_t>();
      if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        throw failure{"the input holds an integer beyond 64 bits: " + std::to_string(number)};
      return value(static_cast<std::int64_t>(number));
    }
    case json_kind::number_float: return value(json.get<double>());
    case json_kind::string: {
      const auto& bytes = json.get_ref<const std::string&>();
      if (!is_valid_utf8(bytes)) throw failure{"the input holds text that is not UTF-8"};
      return value(bytes);
    }
    case json_kind::array: {
      std::vector<value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(from_json(item, depth + 1));
      return list(std::move(items));
    }
    case json_kind::object: {
      dictionary entries;
      for (const auto& [key, item] : json.items()) {
        if (!is_valid_utf8(key)) throw failure{"the input holds a key that is not UTF-8"};
        entries.insert(value(key), from_json(item, depth + 1));
      }
      return dict(std::move(entries));
    }
    case json_kind::null:
    case json_kind::binary:
    case json_kind::discarded: break;
  }
  return value();
}

bool value::is_truthy() const {
  switch (type()) {
    case kind::undefined:
    case kind::none: return false;
    case kind::boolean:
    case kind::integer: return integer() != 0;
    case kind::floating: return number() != 0.0;
    case kind::string: return !bytes().empty();
    case kind::list:
    case kind::tuple: return !elements().items.empty();
    case kind::dict: return entries().size() != 0;
    case kind::object: return thing()->is_truthy();
  }
  return false;
}

int value::depth() const {
  if (is_sequence()) return elements().depth;
  if (is(kind::object)) return thing()->depth();
  return is(kind::dict) ? entries().depth() : 0;
}

std::size_t value::weight() const {
  if (is_sequence()) return elements().weight;
  if (is(kind::object)) return thing()->weight();
  return is(kind::dict) ? entries().weight() : 1;
}

std::string_view value::type_name() const {
  switch (type()) {
    case kind::undefined: return "Undefined";
    case kind::none: return "NoneType";
    case kind::boolean: return "bool";
    case kind::integer: return "int";
    case kind::floating: return "float";
    case kind::string: return string().is_markup ? "Markup" : "str";
    case kind::list: return "list";
    case kind::tuple: return "tuple";
    case kind::dict: return "dict";
    case kind::object: return thing()->type_name();
  }
  return "object";
}

bool value::is_same(const value& other) const {
  if (type() != other.type()) return false;
  switch (type()) {
    case kind::string: return &string() == &other.string();
    case kind::list:
    case kind::tuple: return &elements() == &other.elements();
    case kind::dict: return &entries() == &other.entries();
    case kind::object: return thing() == other.thing();
    case kind::undefined: return std::get<0>(state_) == std::get<0>(other.state_);
    default: return equal(*this, other);
  }
}

void dictionary::insert(value key, value item) {
  if (!is_hashable(key)) throw failure{"unhashable type: '" + std::string(key.type_name()) + "'"};
  depth_ = std::max({depth_, item.depth() + 1, key.depth() + 1});
  weight_ += item.weight() + key.weight();
  if (const auto at = position(key)) {
    entries_[*at].second = std::move(item);
    return;
  }
  entries_.emplace_back(std::move(key), std::move(item));
  if (entries_.size() == indexed_size_min) {
    for (std::size_t i = 0; i < entries_.size(); ++i) index_[key_text(entries_[i].first)] = i;
  } else if (entries_.size() > indexed_size_min) {
    index_[key_text(entries_.back().first)] = entries_.size() - 1;
  }
}

std::optional<std::size_t> dictionary::position(const value& key) const {
  if (!index_.empty()) {
    const auto found = index_.find(key_text(key));
    return found == index_.end() ? std::nullopt : std::optional(found->second);
  }
  for (std::size_t i = 0; i < entries_.size(); ++i)
    if (equal(entries_[i].first, key)) return i;
  return std::nullopt;
}

const value* dictionary::find(const value& key) const {
  const auto at = position(key);
  return at ? &entries_[*at].second : nullptr;
}

const value* dictionary::find(std::string_view key) const {
  if (!index_.empty()) {
    const auto found = index_.find("s" + std::string(key));
    return found == index_.end() ? nullptr : &entries_[found->second].second;
  }
  for (const auto& [name, item] : entries_)
    if (name.is(kind::string) && name.bytes() == key) return &item;
  return nullptr;
}

bool is_hashable(const value& key) {
  if (key.is(kind::list) || key.is(kind::dict)) return false;
  if (!key.is(kind::tuple)) return true;
  return std::all_of(key.elements().items.begin(), key.elements().items.end(), is_hashable);
}

std::string object::representation() const {
  return "<" + std::string(type_name()) + " object>";
}
bool object::is_truthy() const {
  return length().value_or(1) != 0;
}
int object::depth() const {
  return 0;
}
std::size_t object::weight() const {
  return 1;
}
std::optional<std::vector<value>> object::iterate() {
  return std::nullopt;
}
std::optional<std::size_t> object::length() const {
  return std::nullopt;
}
std::optional<value> object::attribute(interpreter&, std::string_view) {
  return std::nullopt;
}
std::optional<value> object::item(interpreter&, const value&) {
  return std::nullopt;
}
bool object::is_callable() const {
  return false;
}
value object::call(interpreter&, arguments) {
  throw failure{"'" + std::string(type_name()) + "' object is not callable"};
}

}  // namespace troupe::jinja
