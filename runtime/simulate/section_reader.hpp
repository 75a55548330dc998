// Reads one map of a scenario's YAML, key by key; the first problem is kept and the rest skipped.
// Everything is checked here: types, ranges, choices, doubles, and keys that nobody asked for.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "config/schema.hpp"
#include "kernels/base/result.hpp"

namespace troupe::simulate {

class section_reader {
 public:
  /// `path` is for messages, empty at the top.
  section_reader(YAML::Node map, std::string path, std::string_view file);

  section_reader& number(std::string_view key, double& target, double least, double most);
  section_reader& number(std::string_view key, std::optional<double>& target, double least,
                         double most);
  section_reader& integer(std::string_view key, std::uint32_t& target, std::uint32_t least,
                          std::uint32_t most);
  section_reader& text(std::string_view key, std::string& target);
  section_reader& texts(std::string_view key, std::vector<std::string>& target);
  /// A key of the server's configuration, under the name that it has here or under its other one:
  /// by the server's own rules.
  section_reader& configured(std::string_view key, const config_key& rule, server_config& target);
  /// A key that would do nothing where it stands.
  section_reader& refuse_key(std::string_view key, std::string_view why);
  /// The place of the value among the choices.
  template <class Choice>
  section_reader& choice(std::string_view key, Choice& target,
                         std::span<const std::string_view> choices) {
    if (const auto place = choose(key, choices)) target = static_cast<Choice>(*place);
    return *this;
  }
  section_reader& section(std::string_view key, const std::function<void(section_reader&)>& read);
  /// A list of maps.
  section_reader& list(std::string_view key, std::size_t count_max,
                       const std::function<void(section_reader&)>& read);

  /// Whether the key stands in the file.
  [[nodiscard]] bool has(std::string_view key) const;
  /// Found by the caller: what this section says makes no sense. Comes second to problems of single
  /// keys, of which it may be a consequence.
  void refuse(std::string_view what);
  /// Refuses keys that nobody asked for: once all were asked for, before what is missing is named.
  void check_keys();
  /// The first problem, unknown keys included.
  result<void> finish();

 private:
  std::optional<YAML::Node> take(std::string_view key);
  std::optional<std::string> scalar(std::string_view key);
  std::optional<std::size_t> choose(std::string_view key,
                                    std::span<const std::string_view> choices);
  [[nodiscard]] error error_at(const YAML::Node& node, std::string_view what) const;
  void refuse_at(const YAML::Node& node, std::string_view what);
  void absorb(section_reader& child);
  [[nodiscard]] std::string path_of(std::string_view key) const;

  YAML::Node map_;
  std::string path_;
  std::string_view file_;
  std::vector<std::string_view> known_;
  std::optional<error> problem_, objection_;
};

}  // namespace troupe::simulate
