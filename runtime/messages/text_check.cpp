// The table of RFC 3629, section 4, as comparisons.
#include "runtime/messages/text_check.hpp"

#include <cstdint>
#include <cstring>

namespace troupe {
namespace {

bool is_within(unsigned char byte, unsigned low, unsigned high) noexcept {
  return byte >= low && byte <= high;
}

}  // namespace

std::size_t utf8_character_bytes(std::string_view text) noexcept {
  if (text.empty()) return 0;
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto continues = [&](std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i) {
      if (!is_within(at(i), 0x80, 0xBF)) return false;
    }
    return true;
  };
  const unsigned char lead = at(0);
  if (lead < 0x80) return 1;
  if (is_within(lead, 0xC2, 0xDF)) return text.size() >= 2 && continues(1, 2) ? 2 : 0;
  if (is_within(lead, 0xE0, 0xEF)) {
    if (text.size() < 3 || !continues(1, 3)) return 0;
    if (lead == 0xE0 && at(1) < 0xA0) return 0;  // overlong
    if (lead == 0xED && at(1) > 0x9F) return 0;  // surrogate
    return 3;
  }
  if (is_within(lead, 0xF0, 0xF4)) {
    if (text.size() < 4 || !continues(1, 4)) return 0;
    if (lead == 0xF0 && at(1) < 0x90) return 0;  // overlong
    if (lead == 0xF4 && at(1) > 0x8F) return 0;  // past U+10FFFF
    return 4;
  }
  return 0;
}

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    std::uint64_t eight = 0;
    if (text.size() >= 8) {
      std::memcpy(&eight, text.data(), 8);
      if ((eight & 0x8080808080808080ull) == 0) {  // ASCII
        text.remove_prefix(8);
        continue;
      }
    }
    const std::size_t bytes = utf8_character_bytes(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

std::size_t utf8_length(std::string_view text) noexcept {
  std::size_t count = 0;
  while (!text.empty()) {
    const std::size_t bytes = utf8_character_bytes(text);
    text.remove_prefix(bytes == 0 ? 1 : bytes);
    ++count;
  }
  return count;
}

}  // namespace troupe
