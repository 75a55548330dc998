// The three classes of service (design, section 3).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace troupe {

enum class lane : std::uint8_t { vip = 0, realtime = 1, async = 2 };

inline constexpr std::size_t lane_count = 3;
inline constexpr std::array<lane, lane_count> all_lanes{lane::vip, lane::realtime, lane::async};

constexpr std::string_view to_string(lane value) noexcept {
  switch (value) {
    case lane::vip: return "vip";
    case lane::realtime: return "realtime";
    case lane::async: return "async";
  }
  return "realtime";
}

constexpr std::optional<lane> parse_lane(std::string_view text) noexcept {
  for (const lane value : all_lanes) {
    if (to_string(value) == text) return value;
  }
  return std::nullopt;
}

constexpr std::size_t to_index(lane value) noexcept {
  return static_cast<std::size_t>(value);
}

/// When a lane promises the first token.
struct first_token_target {
  double ms = 0.0;                    ///< from the arrival; 0: none
  std::uint32_t prompt_tokens = 512;  ///< up to which it holds; longer prompts take longer

  /// In proportion for longer prompts.
  [[nodiscard]] double ms_for(std::uint64_t tokens) const {
    return ms * std::max(1.0, static_cast<double>(tokens) / prompt_tokens);
  }
};

}  // namespace troupe
