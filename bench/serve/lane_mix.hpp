// Which lane each request takes.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/base/result.hpp"
#include "runtime/schedule/lane.hpp"

namespace troupe::bench {

struct lane_share {
  lane service = lane::realtime;
  double weight = 1.0;  ///< above 0; only ratios matter
};

/// "vip=0.1,realtime=0.3,async=0.6". Error: invalid_argument.
result<std::vector<lane_share>> parse_lane_mix(std::string_view text);

/// An empty mix: realtime for all.
std::vector<lane> choose_lanes(const std::vector<lane_share>& mix, std::size_t request_count,
                               std::uint64_t seed);

}  // namespace troupe::bench
