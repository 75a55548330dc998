// Which known name a misspelt one was meant to be, for error messages.
#pragma once

#include <span>
#include <string_view>

namespace troupe {

/// The known name with the smallest edit distance (insert, delete, replace); the first of equals;
/// empty where nothing is within a third of the longer name. Reads at most 64 bytes of each.
std::string_view nearest_name(std::string_view name, std::span<const std::string_view> known);

}  // namespace troupe
