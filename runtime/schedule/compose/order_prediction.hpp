// What an order is predicted to cost: the mean of its replays over the samples, the same samples
// for every order, and fewer of them where an order is clearly worse than another.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/schedule/compose/compose.hpp"
#include "runtime/schedule/compose/prefix_replay.hpp"

namespace troupe {

/// One solution of the search.
struct order_candidate {
  std::vector<std::uint32_t> order;  ///< requests of the problem, every waiting one once
  std::uint32_t running_max = 1;
  std::array<double, compose_sample_count> sums_ms{};  ///< of the objective, over samples 0 .. i
  std::vector<float> lateness_ms;  ///< of each request in the last sample; may be of a parent
  std::uint32_t sample_count =
      compose_sample_count;  ///< of the first ones, on which it is compared

  [[nodiscard]] double objective_ms() const { return sums_ms[sample_count - 1] / sample_count; }
};

class order_prediction {
 public:
  order_prediction(const batch_problem& problem, compose_budget budget)
      : problem_(problem), replay_(problem), budget_(std::move(budget)) {}

  /// Predictions of orders that begin like this one take less time from now on.
  void expect_like(const order_candidate& base) { replay_.set_base(base.order, base.running_max); }
  /// How many samples predictions are made on from now on; all at first.
  void use_samples(std::uint32_t count) { sample_count_ = count; }
  /// All samples in use, whatever the budget says.
  void predict(order_candidate& candidate);
  /// The seeds, each under the largest bound. Equal ones are predicted once; one that is clearly
  /// worse than another in its first samples is taken to be so in the others.
  std::vector<order_candidate> predict_seeds();
  /// True when the candidate was predicted on all samples in use. False as soon as the first ones
  /// say that it is clearly worse than the rival or the same, or the budget has ended. As shares of
  /// the rival's, worse: how much worse it may be; slack: how much more the first sample may, and
  /// the sums of more samples less.
  bool race(order_candidate& candidate, const order_candidate& rival, double slack,
            double worse = 0.0);

  /// Of the budget, when it was asked last.
  [[nodiscard]] double spent() const { return spent_; }
  [[nodiscard]] bool has_ended() const { return spent_ >= 1.0; }
  [[nodiscard]] std::uint64_t replays() const { return replays_; }

 private:
  void replay(order_candidate& candidate, std::uint32_t sample);
  void predict_unless_worse(order_candidate& candidate, const std::vector<order_candidate>& than);

  const batch_problem& problem_;
  prefix_replay replay_;
  compose_budget budget_;
  std::uint64_t replays_ = 0;
  std::uint32_t sample_count_ = compose_sample_count;
  double spent_ = 0.0;
};

}  // namespace troupe
