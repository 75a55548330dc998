// When requests arrive, as vLLM's client decides it: gaps from a gamma distribution, and the whole
// scaled so that the last request arrives at count / rate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace troupe::bench {

struct arrival_options {
  std::size_t request_count = 0;
  double rate_per_s = std::numeric_limits<double>::infinity();  ///< above 0; infinite: all at once
  double burstiness = 1.0;  ///< above 0; 1: a Poisson process; less: burstier; infinite: equal gaps
  std::uint64_t seed = 0;
};

/// Ascending seconds from the start.
std::vector<double> arrival_times_s(const arrival_options& options);

}  // namespace troupe::bench
