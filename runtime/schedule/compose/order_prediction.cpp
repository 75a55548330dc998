#include "runtime/schedule/compose/order_prediction.hpp"

#include <algorithm>

#include "runtime/schedule/compose/seed_orders.hpp"

namespace troupe {
void order_prediction::replay(order_candidate& candidate, std::uint32_t sample) {
  const double before = sample == 0 ? 0.0 : candidate.sums_ms[sample - 1];
  candidate.sums_ms[sample] =
      before + replay_.run(candidate.order, candidate.running_max, sample).objective_ms;
  ++replays_;
  if (sample + 1 == compose_sample_count)
    candidate.lateness_ms.assign(replay_.lateness_ms().begin(), replay_.lateness_ms().end());
}

void order_prediction::predict(order_candidate& candidate) {
  for (std::uint32_t sample = 0; sample < compose_sample_count; ++sample) replay(candidate, sample);
}

std::vector<order_candidate> order_prediction::predict_seeds() {
  std::vector<order_candidate> seeds;
  for (const seed_order which : all_seed_orders) {
    order_candidate seed{seed_order_of(problem_, which), problem_.limits.sequences_max, {}, {}};
    const auto twin = std::ranges::find(seeds, seed.order, &order_candidate::order);
    if (twin == seeds.end()) predict(seed);
    seeds.push_back(twin == seeds.end() ? std::move(seed) : order_candidate(*twin));
  }
  return seeds;
}

bool order_prediction::race(order_candidate& candidate, const order_candidate& rival,
                            double slack) {
  for (std::uint32_t sample = 0; sample < compose_sample_count; ++sample) {
    if (!may_continue_(replays_)) {
      ended_ = true;
      return false;
    }
    replay(candidate, sample);
    const double sum = candidate.sums_ms[sample], rival_sum = rival.sums_ms[sample];
    if (sum > rival_sum * (1.0 + slack / (sample + 1)) || sum == rival_sum) return false;
  }
  return true;
}

}  // namespace troupe
