// Times of a repeated call and what they say: the median, because a shared machine disturbs in one
// direction and sometimes a lot.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace troupe::bench {

/// The middle value, or the mean of the middle two. values is not empty.
double median(std::span<const double> values);

/// Half of the range that holds the middle half of the values, as a fraction of the median: 0 for a
/// quiet machine. values is not empty, and their median not zero.
double relative_spread(std::span<const double> values);

struct timing_budget {
  double seconds = 0.0;         ///< stop after this much, once there are samples_min
  std::size_t samples_min = 1;  ///< at least 1
};

struct repeated_timing {
  double median_seconds = 0.0;  ///< of one call
  double best_seconds = 0.0;
  double spread = 0.0;  ///< relative_spread
  std::size_t sample_count = 0;
};

/// Calls body once unmeasured, then in samples that are long against the clock's resolution.
repeated_timing time_repeatedly(const timing_budget& budget, const std::function<void()>& body);

/// Calls the bodies in turn, again and again, so that each finds the caches as the others left them
/// and all share what else the machine does; a timing for each, of single calls. The budget's
/// seconds are those of each.
std::vector<repeated_timing> time_in_turn(const timing_budget& budget,
                                          std::span<const std::function<void()>> bodies);

}  // namespace troupe::bench
