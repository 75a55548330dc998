#include "runtime/schedule/compose/genetic_search.hpp"

#include <algorithm>
#include <array>
#include <numeric>

namespace troupe {
namespace {

constexpr std::size_t population_max = 16;
/// Bounds of the running set that the best seed is tried with, as shares of the most.
constexpr std::array bound_shares{0.75, 0.55, 0.4, 0.25};
/// Share of the mutations whose parent is the best candidate.
constexpr double local_share = 0.7;
/// How much worse than its rival a child may look on the first sample: one that is nearly the best
/// candidate itself, one from afar, and one under another bound.
constexpr double slack_near = 0.002, slack_far = 0.01, slack_bound = 0.03;
/// Children of the same objective as a member are taken for its twins, and nothing is learned from
/// them.
constexpr double twin_ms = 1e-6;
/// A problem with one answer must not search for ever.
constexpr std::uint64_t vain_children_max = 20'000;

class population {
 public:
  explicit population(std::vector<order_candidate> members) : members_(std::move(members)) {
    std::ranges::sort(members_, {}, &order_candidate::objective_ms);
    if (members_.size() > population_max) members_.resize(population_max);
  }

  [[nodiscard]] const order_candidate& best() const { return members_.front(); }
  [[nodiscard]] const order_candidate& middle() const { return members_[members_.size() / 2]; }
  [[nodiscard]] const order_candidate& by_tournament(search_random& random) const {
    const auto count = static_cast<std::uint32_t>(members_.size());
    return members_[std::min(random.below(count), random.below(count))];  // sorted: the better one
  }
  [[nodiscard]] bool has_room() const { return members_.size() < population_max; }

  bool insert(const order_candidate& child) {
    const double value = child.objective_ms();
    const auto place =
        std::ranges::lower_bound(members_, value - twin_ms, {}, &order_candidate::objective_ms);
    if (place != members_.end() && place->objective_ms() < value + twin_ms) return false;
    if (!has_room() && place == members_.end()) return false;
    members_.insert(place, child);
    if (members_.size() > population_max) members_.pop_back();
    return true;
  }

 private:
  std::vector<order_candidate> members_;  ///< the best first
};

/// Which moves have helped: the more a move gained for each replay, the more often it is tried.
class move_choice {
 public:
  explicit move_choice(const order_moves& moves) {
    for (const move_kind& each : all_move_kinds)
      if (moves.is_of_use(each.move)) records_.push_back({each});
  }

  order_move choose(search_random& random) {
    double sum = 0.0;
    for (const record& each : records_) sum += odds(each);
    double left = random.uniform() * sum;
    chosen_ = 0;
    while (chosen_ + 1 < records_.size() && (left -= odds(records_[chosen_])) >= 0.0) ++chosen_;
    return records_[chosen_].kind.move;
  }
  /// What the move that was chosen last has brought: a share of the objective.
  void learn(double gain, std::uint64_t replays) {
    record& last = records_[chosen_];
    last.gain = keep * last.gain + gain;
    last.replays = keep * last.replays + static_cast<double>(replays);
    gain_ = keep * gain_ + gain;
    replays_ = keep * replays_ + static_cast<double>(replays);
  }
  [[nodiscard]] bool is_empty() const { return records_.empty(); }

 private:
  struct record {
    move_kind kind;
    double gain = 0.0, replays = 0.0;
  };
  /// How much of what was learned is left after the next move.
  static constexpr double keep = 0.98;
  /// Replays for which a move is believed to gain as much as all together.
  static constexpr double trust = 16.0;
  static constexpr double share_min = 0.3;

  [[nodiscard]] double odds(const record& of) const {
    const double mean = (gain_ + 1e-9) / (replays_ + 1.0);
    const double expected = mean * of.kind.odds;
    return share_min * expected + (of.gain + trust * expected) / (of.replays + trust);
  }

  std::vector<record> records_;
  std::size_t chosen_ = 0;
  double gain_ = 0.0, replays_ = 0.0;
};

/// The best seed under other bounds.
void try_bounds(const batch_problem& problem, order_prediction& prediction, population& members) {
  for (const double share : bound_shares) {
    order_candidate child = members.best();
    const auto bound = static_cast<std::uint32_t>(share * problem.limits.sequences_max);
    child.running_max = std::max(problem.width_max, bound);
    if (prediction.race(child, members.best(), slack_bound)) members.insert(child);
  }
}

}  // namespace

order_candidate improve_by_genetic_search(const batch_problem& problem,
                                          order_prediction& prediction,
                                          std::vector<order_candidate> seeds, std::uint64_t seed) {
  search_random random(seed, search_random::stream::search);
  order_moves moves(problem);
  population members(std::move(seeds));
  try_bounds(problem, prediction, members);
  move_choice choice(moves);
  if (choice.is_empty()) return members.best();
  order_candidate child;
  for (std::uint64_t vain = 0; vain < vain_children_max && !prediction.has_ended(); ++vain) {
    const order_move move = choice.choose(random);
    const std::uint64_t replays = prediction.replays();
    const double best_ms = members.best().objective_ms();
    const order_candidate* rival = &members.middle();
    if (takes_two_parents(move)) {
      const order_candidate& left = members.by_tournament(random);
      moves.cross(move, left, members.by_tournament(random), child, random);
    } else {
      const bool is_local = random.uniform() < local_share;
      if (is_local) rival = &members.best();
      child = is_local ? members.best() : members.by_tournament(random);
      if (!moves.mutate(move, child, random)) continue;
    }
    if (prediction.race(child, *rival, rival == &members.best() ? slack_near : slack_far) &&
        members.insert(child))
      vain = 0;
    choice.learn(1.0 - members.best().objective_ms() / best_ms, prediction.replays() - replays);
  }
  return members.best();
}

}  // namespace troupe
