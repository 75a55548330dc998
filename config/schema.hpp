// The keys of the configuration as tables: the YAML loader, the command line and docs/config.md all
// come from them. config_schema() has those of the server; tenant_schema() those of one entry of
// the list `tenants`, which only a file can hold.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/config.hpp"

namespace troupe {

/// Where a key's value lives. Its type is the type of the key.
using config_field =
    std::variant<bool*, std::uint32_t*, int*, double*, std::string*, std::vector<std::string>*>;

/// "integer", "number", "true or false", "text" or "list of texts".
[[nodiscard]] std::string type_name_of(const config_field& field);
/// The value as it could stand in the YAML file.
[[nodiscard]] std::string value_text_of(const config_field& field);

/// What a key takes, wherever its value lives.
struct key_rule {
  std::string path;                  ///< "max_num_seqs", "lanes.vip.max_queued"
  std::string unit;                  ///< "tokens", "ms", or empty
  double min = 0, max = 0;           ///< of numbers, both included
  std::vector<std::string> choices;  ///< of texts, each one of a list; empty: any
  std::string doc;                   ///< one line
  bool acts = true;                  ///< false: checked, and nothing acts on it yet

  /// What the key means, and whether that is to come.
  [[nodiscard]] std::string meaning() const;
  /// "1 to 65536", "f16, bf16, f32", or empty.
  [[nodiscard]] std::string range_text() const;
};

struct config_key : key_rule {
  std::string flag;   ///< "--max-num-seqs"
  std::string group;  ///< the heading it stands under: "Engine"
  std::string alias;  ///< another name for the same key, or empty
  config_field (*field)(server_config&) = nullptr;

  /// What --help says: meaning, range, unit and default.
  [[nodiscard]] std::string help() const;
  [[nodiscard]] std::string type_name() const;
  /// The value that the key has in `config`.
  [[nodiscard]] std::string value_text(const server_config& config) const;
};

struct tenant_key : key_rule {
  config_field (*field)(tenant_config&) = nullptr;
};

/// All keys, in the order of the document.
[[nodiscard]] const std::vector<config_key>& config_schema();
[[nodiscard]] const std::vector<tenant_key>& tenant_schema();
/// The key of the list of tenants.
inline constexpr std::string_view tenants_path = "tenants";

/// By path or alias; null for an unknown one.
[[nodiscard]] const config_key* find_config_key(std::string_view path);
[[nodiscard]] const tenant_key* find_tenant_key(std::string_view path);

/// The known path with the smallest edit distance; empty where none is within a third of the longer
/// path.
[[nodiscard]] std::string nearest_config_key(std::string_view path);
[[nodiscard]] std::string nearest_tenant_key(std::string_view path);

}  // namespace troupe
