// A few dozen short names: the plain quadratic distance is enough.
#include "runtime/messages/nearest_name.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace troupe {
namespace {

constexpr std::size_t bytes_max = 64;

// Levenshtein's distance, one row at a time (Wagner and Fischer 1974).
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::array<std::size_t, bytes_max + 1> row{};
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string_view nearest_name(std::string_view name, std::span<const std::string_view> known) {
  name = name.substr(0, bytes_max);
  std::string_view nearest;
  std::size_t best = bytes_max + 1;
  for (const std::string_view each : known) {
    const std::string_view candidate = each.substr(0, bytes_max);
    const std::size_t distance = edit_distance(name, candidate);
    if (distance < best && 3 * distance < 2 * std::max(name.size(), candidate.size())) {
      best = distance;
      nearest = each;
    }
  }
  return nearest;
}

}  // namespace troupe
