// From the text of a value to the field of a key, within the key's range.
#pragma once

#include <span>
#include <string>

#include "config/schema.hpp"
#include "kernels/base/result.hpp"

namespace troupe {

/// `texts` holds one text, or any number for a key that is a list. Errors: invalid_argument, with
/// the key's name, what it takes, and what it was given.
result<void> set_config_value(server_config& config, const config_key& key,
                              std::span<const std::string> texts);

}  // namespace troupe
