// What a lane's tokens cost. The machine's price runs whether it works or not; each lane bears it
// by its share of all tokens, prompt and output, and gets output tokens for it.
#pragma once

#include <array>
#include <cstdint>

#include "runtime/schedule/lane.hpp"

namespace troupe {

/// Since the start.
struct lane_tokens {
  double prompt = 0.0, generated = 0.0;
};

/// Dollars for 1,000 output tokens of the lane; 0 while it has none.
inline double dollars_per_1k_tokens(double price_per_hour, double elapsed_s,
                                    const std::array<lane_tokens, lane_count>& used, lane service) {
  double all = 0.0;
  for (const lane_tokens& each : used) all += each.prompt + each.generated;
  const lane_tokens& own = used[to_index(service)];
  if (own.generated == 0.0) return 0.0;
  constexpr double hour_s = 3600.0;
  const double dollars = price_per_hour * elapsed_s / hour_s * (own.prompt + own.generated) / all;
  return dollars / (own.generated / 1000.0);
}

}  // namespace troupe
