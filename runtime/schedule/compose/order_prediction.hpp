// What an order is predicted to cost: the mean of its replays over the samples, the same samples
// for every order, and fewer of them where an order is clearly worse than another.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/schedule/compose/batch_replay.hpp"
#include "runtime/schedule/compose/compose.hpp"

namespace troupe {

/// One solution of the search.
struct order_candidate {
  std::vector<std::uint32_t> order;  ///< requests of the problem, every waiting one once
  std::uint32_t running_max = 1;
  std::array<double, compose_sample_count> sums_ms{};  ///< of the objective, over samples 0 .. i
  std::vector<float> lateness_ms;  ///< of each request in the last sample; may be of a parent

  [[nodiscard]] double objective_ms() const { return sums_ms.back() / compose_sample_count; }
};

class order_prediction {
 public:
  order_prediction(const batch_problem& problem, compose_budget may_continue)
      : problem_(problem), replay_(problem), may_continue_(std::move(may_continue)) {}

  /// All samples, whatever the budget says.
  void predict(order_candidate& candidate);
  /// The seeds, each under the largest bound. Equal ones are predicted once.
  std::vector<order_candidate> predict_seeds();
  /// True when the candidate was predicted on all samples. False as soon as the first ones say that
  /// it is clearly worse than the rival or the same, or the budget has ended. slack: how much worse
  /// than the rival's the first sample may be, as a share; the sums of more samples less.
  bool race(order_candidate& candidate, const order_candidate& rival, double slack);

  [[nodiscard]] bool has_ended() const { return ended_; }
  [[nodiscard]] std::uint64_t replays() const { return replays_; }

 private:
  void replay(order_candidate& candidate, std::uint32_t sample);

  const batch_problem& problem_;
  batch_replay replay_;
  compose_budget may_continue_;
  std::uint64_t replays_ = 0;
  bool ended_ = false;
};

}  // namespace troupe
