#include "runtime/schedule/compose/order_prediction.hpp"

namespace troupe {
namespace {

/// How much worse than its rival's an order's sum may be after so many samples, as a share.
constexpr double slack_first = 0.02;

}  // namespace

void order_prediction::replay(order_candidate& candidate, std::uint32_t sample) {
  const double before = sample == 0 ? 0.0 : candidate.sums_ms[sample - 1];
  candidate.sums_ms[sample] =
      before + replay_.run(candidate.order, candidate.running_max, sample).objective_ms;
  ++replays_;
}

void order_prediction::predict(order_candidate& candidate) {
  for (std::uint32_t sample = 0; sample < compose_sample_count; ++sample) replay(candidate, sample);
}

bool order_prediction::race(order_candidate& candidate, const order_candidate& rival) {
  for (std::uint32_t sample = 0; sample < compose_sample_count; ++sample) {
    if (!may_continue_(replays_)) {
      ended_ = true;
      return false;
    }
    replay(candidate, sample);
    const double slack = slack_first / (sample + 1);
    if (candidate.sums_ms[sample] > rival.sums_ms[sample] * (1.0 + slack)) return false;
  }
  return true;
}

}  // namespace troupe
