#include "bench/kernels/repeated_timing.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "kernels/base/check.hpp"

namespace troupe::bench {

namespace {

/// A thousand times what reading the clock costs.
constexpr double sample_seconds_min = 50e-6;
constexpr std::size_t samples_max = 2001;

using clock = std::chrono::steady_clock;

double seconds_since(clock::time_point began) {
  return std::chrono::duration<double>(clock::now() - began).count();
}

/// Linear between neighbours; fraction in [0, 1].
double quantile(std::vector<double>& values, double fraction) {
  std::sort(values.begin(), values.end());
  const double place = fraction * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return std::lerp(values[below], values[above], place - static_cast<double>(below));
}

repeated_timing timing_of(std::span<const double> samples) {
  return {.median_seconds = median(samples),
          .best_seconds = *std::min_element(samples.begin(), samples.end()),
          .spread = relative_spread(samples),
          .sample_count = samples.size()};
}

}  // namespace

double median(std::span<const double> values) {
  TROUPE_CHECK(!values.empty());
  std::vector<double> sorted(values.begin(), values.end());
  return quantile(sorted, 0.5);
}

double relative_spread(std::span<const double> values) {
  TROUPE_CHECK(!values.empty());
  std::vector<double> sorted(values.begin(), values.end());
  return (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / 2.0 / quantile(sorted, 0.5);
}

repeated_timing time_repeatedly(const timing_budget& budget, const std::function<void()>& body) {
  body();
  auto began = clock::now();
  body();
  const double one_call = std::max(seconds_since(began), 1e-9);
  const auto calls = static_cast<std::size_t>(std::ceil(sample_seconds_min / one_call));
  std::vector<double> samples;
  double spent = 0.0;
  while (samples.size() < samples_max &&
         (samples.size() < budget.samples_min || spent < budget.seconds)) {
    began = clock::now();
    for (std::size_t call = 0; call < calls; ++call) body();
    const double sample = seconds_since(began);
    spent += sample;
    samples.push_back(sample / static_cast<double>(calls));
  }
  return timing_of(samples);
}

std::vector<repeated_timing> time_in_turn(const timing_budget& budget,
                                          std::span<const std::function<void()>> bodies) {
  for (const auto& body : bodies) body();
  const double seconds = budget.seconds * static_cast<double>(bodies.size());
  std::vector<std::vector<double>> samples(bodies.size());
  double spent = 0.0;
  for (std::size_t round = 0;
       round < samples_max && (round < budget.samples_min || spent < seconds); ++round) {
    for (std::size_t i = 0; i < bodies.size(); ++i) {
      const auto began = clock::now();
      bodies[i]();
      samples[i].push_back(seconds_since(began));
      spent += samples[i].back();
    }
  }
  std::vector<repeated_timing> timings;
  for (const auto& each : samples) timings.push_back(timing_of(each));
  return timings;
}

}  // namespace troupe::bench
