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

/// The candidate that is nearest to what was written, as long as it is near at all.
class nearest_search {
 public:
  explicit nearest_search(std::string_view written) : written_(written) {}
  void consider(const std::string& candidate, std::size_t distance) {
    if (distance >= best_ || !is_near(distance, written_, candidate)) return;
    best_ = distance;
    nearest_ = candidate;
  }
  [[nodiscard]] const std::string& found() const { return nearest_; }

 private:
  std::string_view written_;
  std::string nearest_;
  std::size_t best_ = std::numeric_limits<std::size_t>::max();
};

std::string_view last_part(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

}  // namespace

std::string type_name_of(const config_field& field) {
  if (std::holds_alternative<bool*>(field)) return "true or false";
  if (std::holds_alternative<double*>(field)) return "number";
  if (std::holds_alternative<std::string*>(field)) return "text";
  if (std::holds_alternative<std::vector<std::string>*>(field)) return "list of texts";
  return "integer";
}

std::string value_text_of(const config_field& field) {
  return std::visit(printer{}, field);
}

std::string config_key::type_name() const {
  server_config config;
  return type_name_of(field(config));
}

std::string config_key::value_text(const server_config& config) const {
  server_config copy = config;
  return value_text_of(field(copy));
}

std::string key_rule::range_text() const {
  if (!choices.empty()) {
    std::string out;
    for (const std::string& choice : choices) out += (out.empty() ? "" : ", ") + choice;
    return out;
  }
  if (min == max) return {};
  return number_text(min) + " to " + number_text(max) + (unit.empty() ? "" : " " + unit);
}

std::string key_rule::meaning() const {
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

const tenant_key* find_tenant_key(std::string_view path) {
  for (const tenant_key& key : tenant_schema())
    if (key.path == path) return &key;
  return nullptr;
}

std::string nearest_config_key(std::string_view path) {
  nearest_search search(path);
  const auto consider = [&](const std::string& candidate) {
    // A right name in a wrong section is near, too.
    search.consider(candidate, std::min(edit_distance(path, candidate),
                                        edit_distance(last_part(path), last_part(candidate)) + 2));
  };
  for (const config_key& key : config_schema()) {
    consider(key.path);
    if (!key.alias.empty()) consider(key.alias);
  }
  consider(std::string(tenants_path));
  return search.found();
}

std::string nearest_tenant_key(std::string_view path) {
  nearest_search search(path);
  for (const tenant_key& key : tenant_schema())
    search.consider(key.path, edit_distance(path, key.path));
  return search.found();
}

}  // namespace troupe
