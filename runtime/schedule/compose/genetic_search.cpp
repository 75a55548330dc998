#include "runtime/schedule/compose/genetic_search.hpp"

#include <algorithm>

namespace troupe {
namespace {

constexpr std::size_t population_max = 16;
/// Share of the children that are mutations of the best candidate.
constexpr double local_share = 0.5;
/// Further mutations of a child, each with this probability behind the one before.
constexpr double another_mutation = 0.3;
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
  [[nodiscard]] const order_candidate& worst() const { return members_.back(); }
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

}  // namespace

order_candidate improve_by_genetic_search(const batch_problem& problem,
                                          order_prediction& prediction,
                                          std::vector<order_candidate> seeds, std::uint64_t seed) {
  search_random random(seed, search_random::stream::search);
  order_moves moves(problem);
  population members(std::move(seeds));
  order_candidate child;
  for (std::uint64_t vain = 0; vain < vain_children_max && !prediction.has_ended(); ++vain) {
    const bool is_local = random.uniform() < local_share;
    if (is_local) {
      child = members.best();
    } else {
      moves.cross(members.by_tournament(random), members.by_tournament(random), child, random);
    }
    if (is_local || random.below(2) == 0) {
      do moves.mutate(child, random);
      while (random.uniform() < another_mutation);
    }
    // While there is room, a child only has to be near the worst of the seeds.
    if (prediction.race(child, members.worst()) && members.insert(child)) vain = 0;
  }
  return members.best();
}

}  // namespace troupe
