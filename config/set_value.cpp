// One visitor: each type of field reads its text and checks the range.
#include "config/set_value.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace troupe {
namespace {

class setter {
 public:
  setter(const key_rule& key, const std::string& name, std::span<const std::string> texts)
      : key_(key), name_(name), texts_(texts) {}

  result<void> operator()(bool* field) const {
    for (const auto yes : {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})
      if (text() == yes) return assign(*field, true);
    for (const auto no : {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})
      if (text() == no) return assign(*field, false);
    return refuse("true or false");
  }

  result<void> operator()(std::uint32_t* field) const { return integer(field); }
  result<void> operator()(int* field) const { return integer(field); }

  result<void> operator()(double* field) const {
    double number = 0;
    const char* end = text().data() + text().size();
    const auto outcome = std::from_chars(text().data(), end, number);
    const bool is_number = outcome.ec == std::errc{} && outcome.ptr == end && std::isfinite(number);
    if (!is_number || number < key_.min || number > key_.max)
      return refuse("a number from " + key_.range_text());
    return assign(*field, number);
  }

  result<void> operator()(std::string* field) const {
    if (!is_choice(text())) return refuse("one of " + key_.range_text());
    return assign(*field, text());
  }

  result<void> operator()(std::vector<std::string>* field) const {
    for (const std::string& item : texts_) {
      if (!is_choice(item)) return refuse("a list of " + key_.range_text(), item);
    }
    field->assign(texts_.begin(), texts_.end());
    return {};
  }

 private:
  [[nodiscard]] const std::string& text() const { return texts_.front(); }
  [[nodiscard]] bool is_choice(const std::string& given) const {
    return key_.choices.empty() ||
           std::find(key_.choices.begin(), key_.choices.end(), given) != key_.choices.end();
  }

  template <class Integer>
  result<void> integer(Integer* field) const {
    std::int64_t number = 0;
    const char* end = text().data() + text().size();
    const auto outcome = std::from_chars(text().data(), end, number);
    const bool is_integer = outcome.ec == std::errc{} && outcome.ptr == end;
    const auto wide = static_cast<double>(number);
    if (!is_integer || wide < key_.min || wide > key_.max)
      return refuse("an integer from " + key_.range_text());
    return assign(*field, static_cast<Integer>(number));
  }

  template <class T>
  static result<void> assign(T& field, T item) {
    field = std::move(item);
    return {};
  }

  [[nodiscard]] result<void> refuse(const std::string& wanted) const {
    return refuse(wanted, text());
  }
  [[nodiscard]] result<void> refuse(const std::string& wanted, const std::string& given) const {
    return error{errc::invalid_argument, name_ + " must be " + wanted + ", not \"" + given + "\""};
  }

  const key_rule& key_;
  const std::string& name_;
  std::span<const std::string> texts_;
};

}  // namespace

result<void> set_field(const config_field& field, const key_rule& rule, const std::string& name,
                       std::span<const std::string> texts) {
  if (texts.size() != 1 && !std::holds_alternative<std::vector<std::string>*>(field))
    return error{errc::invalid_argument, name + " takes one value, not a list"};
  return std::visit(setter(rule, name, texts), field);
}

result<void> set_config_value(server_config& config, const config_key& key,
                              std::span<const std::string> texts) {
  auto& idle = config.idle_keys;
  if (!key.acts && std::find(idle.begin(), idle.end(), key.path) == idle.end())
    idle.push_back(key.path);
  return set_field(key.field(config), key, key.path, texts);
}

}  // namespace troupe
