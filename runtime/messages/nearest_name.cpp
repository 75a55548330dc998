// A few dozen short names: the plain quadratic distance is enough.
#include "runtime/messages/nearest_name.hpp"

#include <cstddef>

#include "kernels/base/edit_distance.hpp"

namespace troupe {
namespace {

constexpr std::size_t bytes_max = 64;

}  // namespace

std::string_view nearest_name(std::string_view name, std::span<const std::string_view> known) {
  name = name.substr(0, bytes_max);
  std::string_view nearest;
  std::size_t best = bytes_max + 1;
  for (const std::string_view each : known) {
    const std::string_view candidate = each.substr(0, bytes_max);
    const std::size_t distance = edit_distance(name, candidate);
    if (distance < best && is_near(distance, name, candidate)) {
      best = distance;
      nearest = each;
    }
  }
  return nearest;
}

}  // namespace troupe
