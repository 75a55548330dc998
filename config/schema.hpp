// The keys of the configuration as a table: the YAML loader, the command line and docs/config.md
// all come from it.
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

struct config_key {
  std::string path;                  ///< "max_num_seqs", "lanes.vip.max_queued"
  std::string flag;                  ///< "--max-num-seqs"
  std::string group;                 ///< the heading it stands under: "Engine"
  std::string alias;                 ///< another name for the same key, or empty
  std::string unit;                  ///< "tokens", "ms", or empty
  double min = 0, max = 0;           ///< of numbers, both included
  std::vector<std::string> choices;  ///< of texts; empty: any
  std::string doc;                   ///< one line
  bool acts = true;                  ///< false: checked, and nothing acts on it yet
  config_field (*field)(server_config&) = nullptr;

  /// What the key means, and whether that is to come.
  [[nodiscard]] std::string meaning() const;
  /// What --help says: meaning, range, unit and default.
  [[nodiscard]] std::string help() const;
  /// "integer", "number", "true or false", "text" or "list of texts".
  [[nodiscard]] std::string type_name() const;
  /// The value that the key has in `config`, as it could stand in the YAML file.
  [[nodiscard]] std::string value_text(const server_config& config) const;
  /// "1 to 65536", "f16, bf16, f32", or empty.
  [[nodiscard]] std::string range_text() const;
};

/// All keys, in the order of the document.
[[nodiscard]] const std::vector<config_key>& config_schema();

/// By path or alias; null for an unknown one.
[[nodiscard]] const config_key* find_config_key(std::string_view path);

/// The known path with the smallest edit distance; empty where none is within a third of the longer
/// path.
[[nodiscard]] std::string nearest_config_key(std::string_view path);

}  // namespace troupe
