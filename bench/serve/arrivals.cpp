#include "bench/serve/arrivals.hpp"

#include <cmath>
#include <random>

namespace troupe::bench {
namespace {

// One seed makes several independent streams.
constexpr std::uint64_t arrival_stream = 0x6172726976616c73;

}  // namespace

std::vector<double> arrival_times_s(const arrival_options& options) {
  std::vector<double> out(options.request_count, 0.0);
  if (out.empty() || std::isinf(options.rate_per_s)) return out;
  std::mt19937_64 random(options.seed ^ arrival_stream);
  std::gamma_distribution<double> gap(options.burstiness, 1.0);
  double at = 0.0;
  for (double& each : out) each = at += std::isinf(options.burstiness) ? 1.0 : gap(random);
  // Sums of random gaps differ by some percent between seeds, and the throughput would with them.
  const double scale =
      at > 0.0 ? static_cast<double>(options.request_count) / options.rate_per_s / at : 0.0;
  for (double& each : out) each *= scale;
  return out;
}

}  // namespace troupe::bench
