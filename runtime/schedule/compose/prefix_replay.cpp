#include "runtime/schedule/compose/prefix_replay.hpp"

#include <algorithm>

namespace troupe {
namespace {

/// Requests between two places, and how many places there are at most.
constexpr std::size_t place_distance = 8, places_max = 16;

}  // namespace

prefix_replay::prefix_replay(const batch_problem& problem)
    : replay_(problem),
      place_count_(std::min(places_max, problem.waiting_count / place_distance)),
      states_(place_count_ * compose_sample_count),
      is_kept_(states_.size()) {}

/// How many requests the order has in common with the base, from the first on.
std::size_t prefix_replay::alike(std::span<const std::uint32_t> order,
                                 std::uint32_t running_max) const {
  if (running_max != base_running_max_) return 0;
  return static_cast<std::size_t>(std::ranges::mismatch(order, base_).in1 - order.begin());
}

void prefix_replay::set_base(std::span<const std::uint32_t> order, std::uint32_t running_max) {
  const std::size_t same = alike(order, running_max);
  if (same == order.size()) return;
  base_.assign(order.begin(), order.end());
  base_running_max_ = running_max;
  for (std::size_t i = 0; i < states_.size(); ++i)
    is_kept_[i] = is_kept_[i] && states_[i]->taken() < same;
}

replay_outcome prefix_replay::run(std::span<const std::uint32_t> order, std::uint32_t running_max,
                                  std::uint32_t sample) {
  const std::size_t same = alike(order, running_max), first = sample * place_count_;
  std::size_t place = place_count_;
  while (place != 0 && !(is_kept_[first + place - 1] && states_[first + place - 1]->taken() < same))
    --place;
  if (place == 0) {
    replay_.start(order, running_max, sample);
  } else {
    replay_ = *states_[first + place - 1];
    replay_.continue_with(order);
  }
  for (; place < place_count_; ++place) {
    const std::size_t target = (place + 1) * order.size() / (place_count_ + 1);
    if (target >= same) break;
    replay_.advance(target);
    if (replay_.taken() >= same) break;
    states_[first + place] = replay_;
    is_kept_[first + place] = true;
  }
  return replay_.finish();
}

}  // namespace troupe
