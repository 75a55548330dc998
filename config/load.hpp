// From a YAML file and command-line flags to a checked configuration.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "config/config.hpp"
#include "config/schema.hpp"
#include "kernels/base/result.hpp"

namespace troupe {

/// A key set on the command line; the text is what stands behind its flag. Lists are separated by
/// commas.
struct config_override {
  std::string key;
  std::string value;
};

/// Defaults, then the file, then the overrides, then the checks across keys. Errors: not_found for
/// a missing file; invalid_argument for everything else, with file and line where there is one, and
/// with the nearest known key for an unknown one.
result<server_config> load_config(const std::optional<std::filesystem::path>& file,
                                  std::span<const config_override> overrides);

/// The same from YAML text; `name` stands for the file in messages.
result<server_config> parse_config(std::string_view yaml, std::string_view name,
                                   std::span<const config_override> overrides = {});

/// The checks that no single key can fail.
result<void> validate(const server_config& config);

/// docs/config.md, from the schema.
std::string config_document();

}  // namespace troupe
