#include "runtime/simulate/section_reader.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "config/set_value.hpp"
#include "runtime/messages/nearest_name.hpp"

namespace troupe::simulate {

section_reader::section_reader(YAML::Node map, std::string path, std::string_view file)
    : map_(std::move(map)), path_(std::move(path)), file_(file) {
  if (map_.IsNull()) return;
  if (!map_.IsMap()) {
    refuse_at(map_, fmt::format("{} must be a map of keys", path_.empty() ? "the file" : path_));
    map_ = YAML::Node();
  }
}

std::string section_reader::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

error section_reader::error_at(const YAML::Node& node, std::string_view what) const {
  const int line = node.Mark().line;  // counted from zero; negative: unknown
  return {errc::invalid_argument, line < 0 ? fmt::format("{}: {}", file_, what)
                                           : fmt::format("{}:{}: {}", file_, line + 1, what)};
}

void section_reader::refuse_at(const YAML::Node& node, std::string_view what) {
  if (!problem_) problem_ = error_at(node, what);
}

void section_reader::refuse(std::string_view what) {
  if (objection_) return;
  objection_ =
      error_at(map_, path_.empty() ? std::string(what) : fmt::format("{}: {}", path_, what));
}

bool section_reader::has(std::string_view key) const {
  return map_.IsMap() && static_cast<bool>(map_[std::string(key)]);
}

std::optional<YAML::Node> section_reader::take(std::string_view key) {
  known_.push_back(key);
  if (problem_ || !has(key)) return std::nullopt;
  return map_[std::string(key)];
}

std::optional<std::string> section_reader::scalar(std::string_view key) {
  const auto node = take(key);
  if (!node) return std::nullopt;
  if (node->IsScalar()) return node->Scalar();
  refuse_at(map_, fmt::format("{} must be a single value", path_of(key)));
  return std::nullopt;
}

section_reader& section_reader::number(std::string_view key, double& target, double least,
                                       double most) {
  const auto text = scalar(key);
  if (!text) return *this;
  double value = 0.0;
  const auto outcome = std::from_chars(text->data(), text->data() + text->size(), value);
  if (outcome.ec == std::errc{} && outcome.ptr == text->data() + text->size() &&
      std::isfinite(value) && value >= least && value <= most) {
    target = value;
  } else {
    refuse_at(map_[std::string(key)], fmt::format("{} must be a number from {} to {}, not \"{}\"",
                                                  path_of(key), least, most, *text));
  }
  return *this;
}

section_reader& section_reader::number(std::string_view key, std::optional<double>& target,
                                       double least, double most) {
  double value = 0.0;
  const bool given = has(key);
  number(key, value, least, most);
  if (given) target = value;
  return *this;
}

section_reader& section_reader::integer(std::string_view key, std::uint32_t& target,
                                        std::uint32_t least, std::uint32_t most) {
  const auto text = scalar(key);
  if (!text) return *this;
  std::uint32_t value = 0;
  const auto outcome = std::from_chars(text->data(), text->data() + text->size(), value);
  if (outcome.ec == std::errc{} && outcome.ptr == text->data() + text->size() && value >= least &&
      value <= most) {
    target = value;
  } else {
    refuse_at(map_[std::string(key)], fmt::format("{} must be an integer from {} to {}, not \"{}\"",
                                                  path_of(key), least, most, *text));
  }
  return *this;
}

section_reader& section_reader::configured(std::string_view key, const config_key& rule,
                                           server_config& target) {
  const bool has_both = !rule.alias.empty() && has(key) && has(rule.alias);
  for (const std::string_view name : {key, std::string_view(rule.alias)}) {
    if (name.empty()) continue;
    const auto text = scalar(name);
    if (!text) continue;
    const auto set =
        set_field(rule.field(target), rule, path_of(name), std::span(&*text, std::size_t{1}));
    if (!set) refuse_at(map_[std::string(name)], set.failure().message);
    if (has_both) refuse(fmt::format("{} and {} are the same key", key, rule.alias));
  }
  return *this;
}

section_reader& section_reader::refuse_key(std::string_view key, std::string_view why) {
  if (const auto node = take(key))
    refuse_at(*node, fmt::format("{} does nothing here: {}", path_of(key), why));
  return *this;
}

section_reader& section_reader::text(std::string_view key, std::string& target) {
  if (auto value = scalar(key)) target = std::move(*value);
  return *this;
}

section_reader& section_reader::texts(std::string_view key, std::vector<std::string>& target) {
  const auto node = take(key);
  if (!node) return *this;
  if (!node->IsSequence()) refuse_at(*node, fmt::format("{} must be a list", path_of(key)));
  for (const auto& each : *node) {
    if (!each.IsScalar()) {
      refuse_at(each, fmt::format("{} must be a list of texts", path_of(key)));
      break;
    }
    target.push_back(each.Scalar());
  }
  return *this;
}

std::optional<std::size_t> section_reader::choose(std::string_view key,
                                                  std::span<const std::string_view> choices) {
  const auto text = scalar(key);
  if (!text) return std::nullopt;
  const auto found = std::ranges::find(choices, *text);
  if (found != choices.end()) return static_cast<std::size_t>(found - choices.begin());
  refuse_at(map_[std::string(key)], fmt::format("{} must be one of {}, not \"{}\"", path_of(key),
                                                fmt::join(choices, ", "), *text));
  return std::nullopt;
}

void section_reader::absorb(section_reader& child) {
  auto outcome = child.finish();
  if (!outcome && !problem_) problem_ = std::move(outcome).failure();
}

section_reader& section_reader::section(std::string_view key,
                                        const std::function<void(section_reader&)>& read) {
  const auto node = take(key);
  if (!node) return *this;
  section_reader child(*node, path_of(key), file_);
  read(child);
  absorb(child);
  return *this;
}

section_reader& section_reader::list(std::string_view key, std::size_t count_max,
                                     const std::function<void(section_reader&)>& read) {
  const auto node = take(key);
  if (!node) return *this;
  if (!node->IsSequence() || node->size() > count_max) {
    refuse_at(*node, fmt::format("{} must be a list of at most {}", path_of(key), count_max));
    return *this;
  }
  for (std::size_t i = 0; i < node->size() && !problem_; ++i) {
    section_reader child((*node)[i], fmt::format("{}[{}]", path_of(key), i), file_);
    read(child);
    absorb(child);
  }
  return *this;
}

void section_reader::check_keys() {
  std::vector<std::string> seen;
  if (!problem_ && map_.IsMap()) {
    for (const auto& entry : map_) {
      const std::string name = entry.first.IsScalar() ? entry.first.Scalar() : "";
      if (std::ranges::find(seen, name) != seen.end())
        refuse_at(entry.first, fmt::format("{} is set twice", path_of(name)));
      seen.push_back(name);
      if (std::ranges::find(known_, name) != known_.end()) continue;
      const std::string_view nearest = nearest_name(name, known_);
      refuse_at(entry.first, nearest.empty()
                                 ? fmt::format("unknown key \"{}\"", path_of(name))
                                 : fmt::format("unknown key \"{}\"; did you mean \"{}\"?",
                                               path_of(name), path_of(nearest)));
    }
  }
}

result<void> section_reader::finish() {
  check_keys();
  if (problem_) return *problem_;
  if (objection_) return *objection_;
  return {};
}

}  // namespace troupe::simulate
