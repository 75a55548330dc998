// From the text of a value to the field of a key, within the key's range.
#pragma once

#include <span>
#include <string>

#include "config/schema.hpp"
#include "kernels/base/result.hpp"

namespace troupe {

/// Sets a field by its rule. `name` stands for the key in messages.
result<void> set_field(const config_field& field, const key_rule& rule, const std::string& name,
                       std::span<const std::string> texts);

/// `texts` holds one text, or any number for a key that is a list. Errors: invalid_argument, with
/// the key's name, what it takes, and what it was given.
result<void> set_config_value(server_config& config, const config_key& key,
                              std::span<const std::string> texts);

}  // namespace troupe
