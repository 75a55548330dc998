#include "kernels/base/cache_sizes.hpp"

#include <fstream>
#include <string>

namespace troupe {

namespace {

/// Indices that Linux has for one CPU: rarely more than four.
constexpr int cache_index_max = 8;

std::string line_of(const std::string& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

/// "48K" or "32M" in bytes; 0 where it is neither.
std::size_t parse_size(const std::string& text) {
  std::size_t value = 0, at = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9' && value < 1u << 30; ++at) {
    value = value * 10 + static_cast<std::size_t>(text[at] - '0');
  }
  const char unit = at < text.size() ? text[at] : ' ';
  return unit == 'K' ? value << 10 : unit == 'M' ? value << 20 : 0;
}

}  // namespace

cache_sizes read_cache_sizes() {
  cache_sizes sizes;
  for (int index = 0; index < cache_index_max; ++index) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index);
    const std::string level = line_of(folder + "/level");
    const std::size_t bytes = parse_size(line_of(folder + "/size"));
    if (bytes == 0 || line_of(folder + "/type") == "Instruction") continue;
    if (level == "1") sizes.l1_bytes = bytes;
    if (level == "2") sizes.l2_bytes = bytes;
    if (level == "3") sizes.l3_bytes = bytes;
  }
  return sizes;
}

}  // namespace troupe
