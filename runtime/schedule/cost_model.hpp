// How long a step takes, learned from the steps that took place: a sum of non-negative costs,
// fitted on line. A plain deterministic object: durations are handed in, and equal histories give
// equal predictions.
//
// A step's milliseconds are predicted as the product of its features with a cost_profile:
//   1, ceil(tokens / 16), tokens, logit rows, (row, key) pairs of decodes, the same of prefills.
// Coefficients minimize squared relative errors, in which a step's weight fades with the steps of
// its own stratum (kind, size and depth), and more slowly with all others, so that rare steps count
// beside frequent ones. What recent steps do not tell apart keeps the proportions that it had, and
// goes up and down with the rest: thousands of decodes do not wash away what prompts cost. A
// duration far from its prediction is brought nearer, as far as the stratum's recent errors say, so
// that a page fault changes little, and a slower machine shows within a few steps.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "runtime/schedule/step_shape.hpp"

namespace troupe {

/// What each part of a step costs; every value positive. The default is a model of 135 million
/// 4-bit weights on two cores with AVX-512: other machines differ by a common factor first of all,
/// which one step shows.
struct cost_profile {
  double step_ms = 0.85;           ///< of any step: weights are read, threads meet
  double row_tile_ms = 0.70;       ///< of each 16 rows begun: weights are unpacked
  double row_ms = 0.136;           ///< of each row, in all layers
  double logit_row_ms = 0.056;     ///< of each row that the head computes and that is sampled
  double decode_pair_us = 0.60;    ///< of each key that a decode reads
  double prefill_pair_us = 0.216;  ///< of each (row, key) pair of a prefill
};

/// How much of each part of a cost_profile a step has, in its order.
using cost_features = std::array<double, 6>;
cost_features features_of(const step_shape& shape);

class cost_model {
 public:
  explicit cost_model(const cost_profile& prior = {});

  /// A step that took place. Durations that are not positive and finite, and empty steps, are
  /// ignored.
  void observe(const step_shape& shape, double ms);

  [[nodiscard]] double predict_ms(const step_shape& shape) const;
  /// What `tokens` of a prompt, from `position_first` on, add to a step that takes place anyway:
  /// their share of a tile where they do not fill one.
  [[nodiscard]] double added_prefill_ms(std::uint32_t tokens, std::uint32_t position_first) const;

  /// The most tokens of one prompt, from `position_first` on, with which a step that holds `beside`
  /// already is predicted to take at most ms_max. The step's prefills together are at least
  /// tokens_min, so that prompts always get on, and at most prefill_tokens_unmeasured until
  /// a step was measured. Does not decrease with ms_max, nor increase with what is beside.
  [[nodiscard]] std::uint32_t prefill_tokens_within(
      double ms_max, const step_shape& beside, std::uint32_t position_first,
      std::uint32_t tokens_min = prefill_tokens_min) const;

  [[nodiscard]] bool is_measured() const { return observed_count_ != 0; }
  /// Median of |predicted before the fit / measured - 1| over the last error_steps steps; 0 before
  /// the first.
  [[nodiscard]] double error() const;
  /// The fitted costs: what the next start with this model on this machine begins with.
  [[nodiscard]] cost_profile profile() const;

  static constexpr std::uint32_t prefill_tokens_min = 16;
  static constexpr std::uint32_t prefill_tokens_unmeasured = 256;
  static constexpr std::size_t error_steps = 64;

 private:
  using features = cost_features;
  static constexpr std::size_t feature_count = std::tuple_size_v<features>;
  using matrix = std::array<features, feature_count>;

  /// Steps of one kind: their weighted normal equations, and how far off predictions are.
  struct stratum {
    matrix gram{};
    features moment{};
    double spread = spread_first;  ///< running mean of |log(measured / predicted)|
  };
  static constexpr double spread_first = 4.0;  ///< the first steps may be a factor of e^4 off
  static constexpr std::size_t kind_count = 2, size_count = 4, depth_count = 3;

  static std::size_t stratum_of(const step_shape& shape);
  static void learn(stratum& to, const features& x, double predicted_ms, double ms);
  void fade();
  void refit();

  features prior_;
  features coefficients_;
  std::array<stratum, kind_count * size_count * depth_count> strata_{};
  std::array<double, error_steps> errors_{};  ///< a ring
  std::uint64_t observed_count_ = 0;
};

}  // namespace troupe
