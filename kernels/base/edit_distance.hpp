// How far two names are apart, for messages that say which name was meant.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

namespace troupe {

/// Levenshtein's distance (insert, delete, replace), one row at a time. O(a * b): for short names.
/// Source: Wagner and Fischer, "The string-to-string correction problem", J. ACM 1974.
inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

/// Near enough to be meant: within a third of the longer name.
inline bool is_near(std::size_t distance, std::string_view a, std::string_view b) {
  return 3 * distance <= std::max(a.size(), b.size());
}

}  // namespace troupe
