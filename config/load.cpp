// The one adapter of yaml-cpp: its exceptions become error values here.
#include "config/load.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "config/limits.hpp"
#include "config/set_value.hpp"

namespace troupe {
namespace {

std::string unknown_key(const std::string& path, const std::string& prefix,
                        const std::string& nearest) {
  const std::string hint = nearest.empty() ? "" : "; did you mean \"" + prefix + nearest + "\"?";
  return "unknown key \"" + path + "\"" + hint;
}

std::string unknown_key(const std::string& path) {
  return unknown_key(path, "", nearest_config_key(path));
}

class yaml_reader {
 public:
  yaml_reader(server_config& config, std::string_view name) : config_(config), name_(name) {}

  result<void> read(const YAML::Node& root) {
    if (root.IsNull()) return {};
    if (!root.IsMap()) return refuse(root, "the file must be a map of keys");
    return read_map(root, "", false);
  }

 private:
  [[nodiscard]] error refuse(const YAML::Node& node, const std::string& what) const {
    const int line = node.Mark().line;  // counted from zero; negative: unknown
    std::string where(name_);
    if (line >= 0) where += ":" + std::to_string(line + 1);
    return error{errc::invalid_argument, where + ": " + what};
  }

  static bool is_section(const std::string& path) {
    for (const config_key& key : config_schema())
      if (key.path.starts_with(path + ".")) return true;
    return false;
  }

  result<void> read_map(const YAML::Node& map, const std::string& prefix, bool in_engine) {
    for (const auto& entry : map) {
      if (!entry.first.IsScalar()) return refuse(entry.first, "a key must be a text");
      const std::string name = entry.first.Scalar();
      // Engine keys may stand at the top or under `engine:`.
      const bool is_engine = prefix.empty() && !in_engine && name == "engine";
      const std::string path = prefix + name;
      if (path == tenants_path) {
        TROUPE_TRY_VOID(read_tenants(entry.first, entry.second));
        continue;
      }
      if (!is_engine && (in_engine || !is_section(path))) {
        TROUPE_TRY_VOID(read_key(entry.first, entry.second, path));
        continue;
      }
      if (entry.second.IsNull()) continue;
      if (!entry.second.IsMap()) return refuse(entry.first, path + " must be a map of keys");
      TROUPE_TRY_VOID(read_map(entry.second, is_engine ? "" : path + ".", is_engine));
    }
    return {};
  }

  result<void> read_key(const YAML::Node& name, const YAML::Node& item, const std::string& path) {
    const config_key* key = find_config_key(path);
    if (key == nullptr) return refuse(name, unknown_key(path));
    const auto [earlier, is_new] = seen_.emplace(key->path, name.Mark().line + 1);
    if (!is_new)
      return refuse(name, key->path + " is already set in line " + std::to_string(earlier->second));
    TROUPE_TRY(const std::vector<std::string> texts, read_texts(name, item, path));
    auto outcome = set_config_value(config_, *key, texts);
    if (!outcome) return refuse(item, outcome.failure().message);
    return {};
  }

  /// The text or texts of a key's value.
  result<std::vector<std::string>> read_texts(const YAML::Node& name, const YAML::Node& item,
                                              const std::string& path) const {
    std::vector<std::string> texts;
    if (item.IsScalar()) {
      texts.push_back(item.Scalar());
    } else if (item.IsSequence()) {
      for (const auto& element : item) {
        if (!element.IsScalar()) return refuse(element, path + " must be a list of texts");
        texts.push_back(element.Scalar());
      }
    } else {
      return refuse(name, path + (item.IsMap() ? " is no section" : " has no value"));
    }
    return texts;
  }

  result<void> read_tenants(const YAML::Node& name, const YAML::Node& list) {
    const std::string path(tenants_path);
    const auto [earlier, is_new] = seen_.emplace(path, name.Mark().line + 1);
    if (!is_new)
      return refuse(name, path + " is already set in line " + std::to_string(earlier->second));
    if (list.IsNull()) return {};
    if (!list.IsSequence()) return refuse(list, path + " must be a list of maps, one a tenant");
    if (list.size() > limits::tenant_count_max)
      return refuse(
          list, path + " has more than " + std::to_string(limits::tenant_count_max) + " entries");
    for (const auto& entry : list) TROUPE_TRY_VOID(read_tenant(entry));
    return {};
  }

  result<void> read_tenant(const YAML::Node& map) {
    const std::string path =
        std::string(tenants_path) + "[" + std::to_string(config_.tenants.size()) + "]";
    if (!map.IsMap()) return refuse(map, path + " must be a map of keys");
    tenant_config& tenant = config_.tenants.emplace_back();
    std::map<std::string, int> seen;
    for (const auto& entry : map) {
      if (!entry.first.IsScalar()) return refuse(entry.first, "a key must be a text");
      const std::string name = entry.first.Scalar();
      const tenant_key* key = find_tenant_key(name);
      if (key == nullptr)
        return refuse(entry.first,
                      unknown_key(path + "." + name, path + ".", nearest_tenant_key(name)));
      const auto [earlier, is_new] = seen.emplace(name, entry.first.Mark().line + 1);
      if (!is_new)
        return refuse(entry.first, path + "." + name + " is already set in line " +
                                       std::to_string(earlier->second));
      TROUPE_TRY_VOID(read_tenant_key(tenant, *key, entry.first, entry.second, path + "." + name));
    }
    if (tenant.name.empty()) return refuse(map, path + " has no name");
    return {};
  }

  result<void> read_tenant_key(tenant_config& tenant, const tenant_key& key, const YAML::Node& name,
                               const YAML::Node& item, const std::string& path) {
    TROUPE_TRY(const std::vector<std::string> texts, read_texts(name, item, path));
    auto outcome = set_field(key.field(tenant), key, path, texts);
    if (!outcome) return refuse(item, outcome.failure().message);
    const std::string idle = std::string(tenants_path) + "." + key.path;
    auto& all_idle = config_.idle_keys;
    if (!key.acts && std::find(all_idle.begin(), all_idle.end(), idle) == all_idle.end())
      all_idle.push_back(idle);
    return {};
  }

  server_config& config_;
  std::string_view name_;
  std::map<std::string, int> seen_;  ///< line of each key
};

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

result<void> apply_override(server_config& config, const config_override& given) {
  const config_key* key = find_config_key(given.key);
  if (key == nullptr) return error{errc::invalid_argument, unknown_key(given.key)};
  const bool is_list = std::holds_alternative<std::vector<std::string>*>(key->field(config));
  const auto texts = is_list ? split_list(given.value) : std::vector<std::string>{given.value};
  auto outcome = set_config_value(config, *key, texts);
  if (outcome) return {};
  return error{errc::invalid_argument, key->flag + ": " + outcome.failure().message};
}

result<void> read_yaml(server_config& config, std::string_view yaml, std::string_view name) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(yaml));
    if (documents.size() > 1)
      return error{errc::invalid_argument, std::string(name) + ": holds more than one document"};
    if (documents.empty()) return {};
    return yaml_reader(config, name).read(documents.front());
  } catch (const YAML::Exception& problem) {
    const int line = problem.mark.line;
    return error{
        errc::invalid_argument,
        std::string(name) + (line >= 0 ? ":" + std::to_string(line + 1) : "") + ": " + problem.msg};
  }
}

}  // namespace

result<server_config> parse_config(std::string_view yaml, std::string_view name,
                                   std::span<const config_override> overrides) {
  server_config config;
  TROUPE_TRY_VOID(read_yaml(config, yaml, name));
  for (const config_override& given : overrides) TROUPE_TRY_VOID(apply_override(config, given));
  TROUPE_TRY_VOID(validate(config));
  return config;
}

result<server_config> load_config(const std::optional<std::filesystem::path>& file,
                                  std::span<const config_override> overrides) {
  if (!file) return parse_config("", "", overrides);
  std::ifstream stream(*file, std::ios::binary);
  if (!stream || std::filesystem::is_directory(*file))
    return error{errc::not_found, "cannot read the configuration " + file->string()};
  std::string yaml(limits::config_bytes_max + 1, '\0');
  stream.read(yaml.data(), static_cast<std::streamsize>(yaml.size()));
  yaml.resize(static_cast<std::size_t>(stream.gcount()));
  if (yaml.size() > limits::config_bytes_max)
    return error{errc::invalid_argument, file->string() + ": is longer than " +
                                             std::to_string(limits::config_bytes_max) + " bytes"};
  return parse_config(yaml, file->string(), overrides);
}

}  // namespace troupe
