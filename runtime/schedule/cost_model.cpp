#include "runtime/schedule/cost_model.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/base/check.hpp"

namespace troupe {

namespace {

/// Rows that share one unpacking of the weights (kernels/matmul).
constexpr std::uint32_t tile_rows = 16;
/// More than any step may hold (max_num_batched_tokens).
constexpr std::uint32_t prefill_tokens_max = 1u << 20;

/// What is left of a step's weight after another one of its stratum: of many, some 7 count.
constexpr double stratum_keep = 0.85;
/// And after another one of any: whatever the machine was like 100 steps ago counts no more.
constexpr double all_keep = 0.97;
/// How fast a stratum's spread follows its errors, and the most that one error adds to it.
constexpr double spread_rate = 0.1, spread_max = 1.0;
/// A duration counts as at most this many spreads away from its prediction, of at least spread_min:
/// with one, predictions keep to the median, and what the machine does besides does not raise them.
constexpr double spreads_believed = 1.0, spread_min = 0.04;
/// Weight of the coefficients before, in steps that consist of one feature alone.
constexpr double previous_weight = 0.003;
/// The least that a coefficient becomes, as a share of what the prior would make it.
constexpr double prior_share_min = 0.05;
/// Sweeps of coordinate descent. Each solution begins at the one before, so that few are enough.
constexpr int sweep_count = 16;
/// What one refit may multiply all coefficients with.
constexpr double rescale_max = 64.0;

template <std::size_t Count>
double dot(const std::array<double, Count>& a, const std::array<double, Count>& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < Count; ++i) sum += a[i] * b[i];
  return sum;
}

/// 0 below `first`, then one more for each factor of 4, up to count - 1.
std::size_t size_class(std::uint64_t value, std::uint64_t first, std::size_t count) {
  const auto bits = static_cast<std::size_t>(std::bit_width(value / first));
  return std::min((bits + 1) / 2, count - 1);
}

}  // namespace

cost_model::cost_model(const cost_profile& prior)
    : prior_{prior.step_ms,      prior.row_tile_ms,          prior.row_ms,
             prior.logit_row_ms, prior.decode_pair_us / 1e3, prior.prefill_pair_us / 1e3},
      coefficients_(prior_) {
  for (const double each : prior_) TROUPE_CHECK(each > 0.0 && std::isfinite(each));
}

cost_features features_of(const step_shape& shape) {
  return {1.0,
          static_cast<double>((shape.tokens() + tile_rows - 1) / tile_rows),
          static_cast<double>(shape.tokens()),
          static_cast<double>(shape.logit_rows),
          static_cast<double>(shape.decode_pairs),
          static_cast<double>(shape.prefill_pairs)};
}

std::size_t cost_model::stratum_of(const step_shape& shape) {
  const bool has_prefill = shape.prefill_tokens != 0;
  const std::size_t size = has_prefill ? size_class(shape.prefill_tokens, 32, size_count)
                                       : size_class(shape.decode_sequences, 4, size_count);
  const std::uint64_t pairs = has_prefill ? shape.prefill_pairs : shape.decode_pairs;
  const std::uint32_t rows = has_prefill ? shape.prefill_tokens : shape.decode_sequences;
  const std::size_t depth = size_class(pairs / rows, 256, depth_count);
  return ((has_prefill ? 1 : 0) * size_count + size) * depth_count + depth;
}

double cost_model::predict_ms(const step_shape& shape) const {
  return dot(coefficients_, features_of(shape));
}

double cost_model::added_prefill_ms(std::uint32_t tokens, std::uint32_t position_first) const {
  step_shape shape;
  shape.add_prefill(tokens, position_first, 0);
  features x = features_of(shape);
  x[0] = 0.0;
  x[1] = static_cast<double>(tokens) / tile_rows;
  return dot(coefficients_, x);
}

void cost_model::observe(const step_shape& shape, double ms) {
  if (!(ms > 0.0) || !std::isfinite(ms) || shape.tokens() == 0) return;
  const features x = features_of(shape);
  const double predicted_ms = dot(coefficients_, x);
  errors_[observed_count_++ % error_steps] = std::abs(predicted_ms / ms - 1.0);
  fade();
  learn(strata_[stratum_of(shape)], x, predicted_ms, ms);
  refit();
}

void cost_model::fade() {
  for (stratum& each : strata_) {
    for (features& row : each.gram) {
      for (double& value : row) value *= all_keep;
    }
    for (double& value : each.moment) value *= all_keep;
  }
}

void cost_model::learn(stratum& to, const features& x, double predicted_ms, double ms) {
  const double distance = std::log(ms / predicted_ms);
  const double believed = spreads_believed * std::max(to.spread, spread_min);
  const double target_ms = predicted_ms * std::exp(std::clamp(distance, -believed, believed));
  to.spread += spread_rate * (std::min(std::abs(distance), spread_max) - to.spread);
  for (std::size_t i = 0; i < feature_count; ++i) {
    for (std::size_t k = 0; k < feature_count; ++k) {
      double& sum = to.gram[i][k];
      sum = stratum_keep * sum + x[i] * x[k] / (target_ms * target_ms);
    }
    to.moment[i] = stratum_keep * to.moment[i] + x[i] / target_ms;
  }
}

/// Minimizes the strata's squared relative errors, plus previous_weight times the squared relative
/// distances from the coefficients before, which a common factor has brought to the strata's level.
void cost_model::refit() {
  matrix gram{};
  features moment{};
  for (const stratum& each : strata_) {
    for (std::size_t i = 0; i < feature_count; ++i) {
      for (std::size_t k = 0; k < feature_count; ++k) gram[i][k] += each.gram[i][k];
      moment[i] += each.moment[i];
    }
  }
  double curvature = 0.0;
  for (std::size_t i = 0; i < feature_count; ++i)
    curvature += coefficients_[i] * dot(gram[i], coefficients_);
  const double factor =
      std::clamp(dot(coefficients_, moment) / curvature, 1.0 / rescale_max, rescale_max);
  features ratios;
  for (std::size_t i = 0; i < feature_count; ++i) {
    coefficients_[i] *= factor;
    ratios[i] = coefficients_[i] / prior_[i];
  }
  const features before = coefficients_;
  const auto middle = ratios.begin() + feature_count / 2;
  std::nth_element(ratios.begin(), middle, ratios.end());
  for (int sweep = 0; sweep < sweep_count; ++sweep) {
    for (std::size_t i = 0; i < feature_count; ++i) {
      const double stay = previous_weight / (before[i] * before[i]);
      const double others = dot(gram[i], coefficients_) - gram[i][i] * coefficients_[i];
      const double best = (moment[i] + stay * before[i] - others) / (gram[i][i] + stay);
      coefficients_[i] = std::max(best, prior_share_min * *middle * prior_[i]);
    }
  }
}

std::uint32_t cost_model::prefill_tokens_within(double ms_max, const step_shape& beside,
                                                std::uint32_t position_first,
                                                std::uint32_t tokens_min) const {
  const auto up_to = [&](std::uint32_t tokens) {
    return tokens - std::min(tokens, beside.prefill_tokens);
  };
  const auto fits = [&](std::uint32_t rows) {
    step_shape shape = beside;
    shape.add_prefill(rows, position_first, 1);
    return predict_ms(shape) <= ms_max;
  };
  std::uint32_t fitting = up_to(tokens_min);
  std::uint32_t above =
      up_to(observed_count_ == 0 ? prefill_tokens_unmeasured : prefill_tokens_max) + 1;
  while (above - fitting > 1) {
    const std::uint32_t middle = fitting + (above - fitting) / 2;
    (fits(middle) ? fitting : above) = middle;
  }
  return fitting;
}

double cost_model::error() const {
  const auto count =
      static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(observed_count_, error_steps));
  if (count == 0) return 0.0;
  std::array<double, error_steps> sorted = errors_;
  const auto middle = sorted.begin() + count / 2;
  std::nth_element(sorted.begin(), middle, sorted.begin() + count);
  return *middle;
}

cost_profile cost_model::profile() const {
  return {.step_ms = coefficients_[0],
          .row_tile_ms = coefficients_[1],
          .row_ms = coefficients_[2],
          .logit_row_ms = coefficients_[3],
          .decode_pair_us = coefficients_[4] * 1e3,
          .prefill_pair_us = coefficients_[5] * 1e3};
}

}  // namespace troupe
