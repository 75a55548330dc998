#include "runtime/schedule/compose/order_prediction.hpp"

#include <algorithm>

#include "runtime/schedule/compose/seed_orders.hpp"

namespace troupe {
namespace {

/// How much worse the first samples of a seed are than another's where the others are not replayed.
constexpr double seed_slack = 0.02;

}  // namespace

void order_prediction::replay(order_candidate& candidate, std::uint32_t sample) {
  const double before = sample == 0 ? 0.0 : candidate.sums_ms[sample - 1];
  candidate.sums_ms[sample] =
      before + replay_.run(candidate.order, candidate.running_max, sample).objective_ms;
  ++replays_;
  if (sample + 1 == sample_count_ || candidate.lateness_ms.empty())
    candidate.lateness_ms.assign(replay_.lateness_ms().begin(), replay_.lateness_ms().end());
}

void order_prediction::predict(order_candidate& candidate) {
  for (std::uint32_t sample = 0; sample < sample_count_; ++sample) replay(candidate, sample);
  candidate.sample_count = sample_count_;
}

void order_prediction::predict_unless_worse(order_candidate& candidate,
                                            const std::vector<order_candidate>& than) {
  for (std::uint32_t sample = 0; sample < compose_sample_count; ++sample) {
    replay(candidate, sample);
    const double sum = candidate.sums_ms[sample];
    const auto better = std::ranges::find_if(than, [&](const order_candidate& other) {
      return sum > other.sums_ms[sample] * (1.0 + seed_slack);
    });
    if (better == than.end()) continue;
    const double ratio = sum / better->sums_ms[sample];
    for (std::uint32_t next = sample + 1; next < compose_sample_count; ++next)
      candidate.sums_ms[next] = ratio * better->sums_ms[next];
    return;
  }
}

std::vector<order_candidate> order_prediction::predict_seeds() {
  std::vector<order_candidate> seeds;
  for (const seed_order which : all_seed_orders) {
    order_candidate seed{seed_order_of(problem_, which), problem_.limits.sequences_max, {}, {}};
    const auto twin = std::ranges::find(seeds, seed.order, &order_candidate::order);
    if (twin == seeds.end()) predict_unless_worse(seed, seeds);
    seeds.push_back(twin == seeds.end() ? std::move(seed) : order_candidate(*twin));
  }
  spent_ = budget_(replays_);
  return seeds;
}

bool order_prediction::race(order_candidate& candidate, const order_candidate& rival, double slack,
                            double worse) {
  for (std::uint32_t sample = 0; sample < sample_count_; ++sample) {
    spent_ = budget_(replays_);
    if (has_ended()) return false;
    replay(candidate, sample);
    const double sum = candidate.sums_ms[sample], rival_sum = rival.sums_ms[sample];
    if (sum > rival_sum * (1.0 + worse + slack / (sample + 1)) || sum == rival_sum) return false;
  }
  candidate.sample_count = sample_count_;
  return true;
}

}  // namespace troupe
