// Every read follows one pattern: absent or null leaves the default, a wrong type becomes the one
// error.
#include "runtime/messages/openai_body.hpp"

#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "runtime/messages/json_text.hpp"

namespace troupe {

using json = nlohmann::ordered_json;

std::string_view json_type_name(const json& value) {
  switch (value.type()) {
    case json::value_t::null: return "null";
    case json::value_t::boolean: return "a boolean";
    case json::value_t::number_integer:
    case json::value_t::number_unsigned: return "an integer";
    case json::value_t::number_float: return "a float";
    case json::value_t::string: return "a string";
    case json::value_t::array: return "an array";
    case json::value_t::object: return "an object";
    default: return "an unknown type";
  }
}

bool fits_int64(const json& number) {
  if (number.is_number_unsigned()) {
    return std::in_range<std::int64_t>(number.get<std::uint64_t>());
  }
  if (!number.is_number_float()) return true;
  constexpr double bound = 9223372036854775808.0;  // 2^63
  return number.get<double>() >= -bound && number.get<double>() < bound;
}

std::optional<std::int64_t> json_integer(const json& value) {
  const bool is_whole =
      value.is_number_integer() ||
      (value.is_number_float() && std::trunc(value.get<double>()) == value.get<double>());
  if (!is_whole) return std::nullopt;
  if (fits_int64(value)) return value.get<std::int64_t>();
  using range = std::numeric_limits<std::int64_t>;
  return value.get<double>() < 0 ? range::min() : range::max();
}

result<json> parse_openai_object(std::string_view body) {
  TROUPE_TRY(auto object, parse_json(body));
  if (!object.is_object()) {
    return error{errc::invalid_argument,
                 fmt::format("the body must be a JSON object, not {}", json_type_name(object))};
  }
  return object;
}

const json* openai_body::find(std::string_view name) const {
  const auto found = object_.find(std::string(name));
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void openai_body::fail(error failure) {
  if (!failure_) failure_ = std::move(failure);
}

void openai_body::fail(std::string message) {
  fail(error{errc::invalid_argument, std::move(message)});
}

result<void> openai_body::take() const {
  if (failure_) return *failure_;
  return {};
}

void openai_body::wrong_type(std::string_view name, std::string_view expected, const json& value) {
  fail(fmt::format("`{}` must be {}, not {}", name, expected, json_type_name(value)));
}

void openai_body::read(std::string_view name, bool& out) {
  const json* value = find(name);
  if (value == nullptr) return;
  if (!value->is_boolean()) return wrong_type(name, "a boolean", *value);
  out = value->get<bool>();
}

void openai_body::read(std::string_view name, std::int64_t& out) {
  const json* value = find(name);
  if (value == nullptr) return;
  const auto number = json_integer(*value);
  if (!number) return wrong_type(name, "an integer", *value);
  out = *number;
}

void openai_body::read(std::string_view name, double& out) {
  const json* value = find(name);
  if (value == nullptr) return;
  if (!value->is_number()) return wrong_type(name, "a number", *value);
  out = value->get<double>();
}

void openai_body::read(std::string_view name, std::string& out) {
  const json* value = find(name);
  if (value == nullptr) return;
  if (!value->is_string()) return wrong_type(name, "a string", *value);
  out = value->get<std::string>();
}

void openai_body::read(std::string_view name, std::vector<std::int64_t>& out) {
  const json* value = find(name);
  if (value == nullptr) return;
  if (!value->is_array()) return wrong_type(name, "an array of integers", *value);
  out.clear();
  for (const json& each : *value) {
    const auto number = json_integer(each);
    if (!number) return wrong_type(name, "an array of integers", each);
    out.push_back(*number);
  }
}

void openai_body::read_strings(std::string_view name, std::vector<std::string>& out) {
  const json* value = find(name);
  if (value == nullptr) return;
  out.clear();
  if (value->is_string()) {
    out.push_back(value->get<std::string>());
    return;
  }
  if (!value->is_array()) return wrong_type(name, "a string or an array of strings", *value);
  for (const json& each : *value) {
    if (!each.is_string()) return wrong_type(name, "a string or an array of strings", each);
    out.push_back(each.get<std::string>());
  }
}

void openai_body::refuse(std::string_view name, std::string_view why) {
  const json* value = find(name);
  if (value == nullptr) return;
  const bool says_nothing = (value->is_boolean() && !value->get<bool>()) ||
                            (value->is_structured() && value->empty()) ||
                            (value->is_string() && value->get_ref<const std::string&>().empty());
  if (!says_nothing) fail(error{errc::unsupported, fmt::format("`{}` {}", name, why)});
}

}  // namespace troupe
