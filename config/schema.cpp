// Texts of a key, and the search for the key that somebody meant.
#include "config/schema.hpp"

#include <charconv>
#include <limits>
#include <utility>

#include "kernels/base/edit_distance.hpp"

namespace troupe {
namespace {

std::string number_text(double number) {
  char buffer[64];
  // 17 digits before the point are more than any range of the schema has.
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::fixed);
  return {buffer, end.ptr};
}

struct printer {
  std::string operator()(const bool* field) const { return *field ? "true" : "false"; }
  std::string operator()(const std::uint32_t* field) const { return std::to_string(*field); }
  std::string operator()(const int* field) const { return std::to_string(*field); }
  std::string operator()(const double* field) const { return number_text(*field); }
  std::string operator()(const std::string* field) const {
    return field->empty() ? "\"\"" : *field;
  }
  std::string operator()(const std::vector<std::string>* field) const {
    std::string out = "[";
    for (const std::string& item : *field) out += (out.size() > 1 ? ", " : "") + item;
    return out + "]";
  }
};

std::string_view last_part(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

}  // namespace

std::string config_key::type_name() const {
  server_config config;
  const config_field held = field(config);
  if (std::holds_alternative<bool*>(held)) return "true or false";
  if (std::holds_alternative<double*>(held)) return "number";
  if (std::holds_alternative<std::string*>(held)) return "text";
  if (std::holds_alternative<std::vector<std::string>*>(held)) return "list of texts";
  return "integer";
}

std::string config_key::value_text(const server_config& config) const {
  server_config copy = config;
  return std::visit(printer{}, field(copy));
}

std::string config_key::range_text() const {
  if (!choices.empty()) {
    std::string out;
    for (const std::string& choice : choices) out += (out.empty() ? "" : ", ") + choice;
    return out;
  }
  if (min == max) return {};
  return number_text(min) + " to " + number_text(max) + (unit.empty() ? "" : " " + unit);
}

std::string config_key::meaning() const {
  return acts ? doc : doc + " Accepted, not acted on yet.";
}

std::string config_key::help() const {
  std::string out = meaning();
  if (const std::string range = range_text(); !range.empty()) out += " (" + range + ")";
  return out + " [" + value_text(server_config{}) + "]";
}

const config_key* find_config_key(std::string_view path) {
  for (const config_key& key : config_schema())
    if (key.path == path || (!key.alias.empty() && key.alias == path)) return &key;
  return nullptr;
}

std::string nearest_config_key(std::string_view path) {
  std::string nearest;
  std::size_t best = std::numeric_limits<std::size_t>::max();
  const auto consider = [&](const std::string& candidate) {
    // A right name in a wrong section is near, too.
    const std::size_t distance = std::min(edit_distance(path, candidate),
                                          edit_distance(last_part(path), last_part(candidate)) + 2);
    if (distance >= best || !is_near(distance, path, candidate)) return;
    best = distance;
    nearest = candidate;
  };
  for (const config_key& key : config_schema()) {
    consider(key.path);
    if (!key.alias.empty()) consider(key.alias);
  }
  return nearest;
}

}  // namespace troupe
