#include "runtime/schedule/compose/genetic_search.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "runtime/schedule/compose/move_choice.hpp"

namespace troupe {
namespace {

constexpr std::size_t population_max = 8;
/// Bounds of the running set that the best seed is tried with, as shares of the most; then the best
/// of them is by these shares more and less.
constexpr std::array bound_shares{0.75, 0.55, 0.4, 0.25};
constexpr std::array bound_steps{0.125, 0.06};
/// Share of the mutations whose parent is the best candidate.
constexpr double local_share = 0.7;
/// How much worse than its rival a child may look on the first sample: one that is nearly the best
/// candidate itself, one from afar, and one under another bound.
constexpr double slack_near = 0.005, slack_far = 0.02, slack_bound = 0.03;
/// Candidates of the same objective are taken for twins.
constexpr double twin_ms = 1e-6;
/// Children without a better best one after which the population starts anew near the champion, and
/// by how many moves it then differs.
constexpr std::uint32_t stale_children_max = 400, kick_moves_max = 6;
/// A problem with one answer must not search for ever.
constexpr std::uint32_t vain_restarts_max = 50, vain_moves_max = 1000;
/// Random orders that are tried before anything else, and as soon as one of them was the best: so
/// many more in vain.
constexpr std::uint32_t shuffles_min = 6, shuffles_more = 40;
/// Share of the budget until which random orders that keep winning go on: more than other children
/// get, or where few replays fit the budget there would be none.
constexpr double shuffles_share = 0.7;
/// Where the budget is at most so many replays for each request, orders are compared on so many
/// samples until a share of it is spent: a wrong turn costs less than few orders.
struct few_samples {
  double replays_max = 0.0;
  std::uint32_t count = 0;
};
constexpr std::array few_sample_counts{few_samples{3.0, 3}, few_samples{50.0, 4}};
constexpr double few_samples_share = 0.7;
/// Share of the budget after which the best order is annealed, and the temperatures, as shares of
/// its objective.
constexpr double genetic_share = 0.35, hottest = 0.002, coldest = 1e-4;

class population {
 public:
  explicit population(std::vector<order_candidate> members) : members_(std::move(members)) {
    std::ranges::sort(members_, {}, &order_candidate::objective_ms);
    if (members_.size() > population_max) members_.resize(population_max);
  }

  /// Fewer than before.
  void use_samples(std::uint32_t count) {
    for (order_candidate& each : members_) each.sample_count = count;
    std::ranges::sort(members_, {}, &order_candidate::objective_ms);
  }

  [[nodiscard]] const order_candidate& best() const { return members_.front(); }
  [[nodiscard]] const order_candidate& middle() const { return members_[members_.size() / 2]; }
  [[nodiscard]] const order_candidate& by_tournament(search_random& random) const {
    const auto count = static_cast<std::uint32_t>(members_.size());
    return members_[std::min(random.below(count), random.below(count))];  // sorted: the better one
  }

  void insert(const order_candidate& child) {
    const double value = child.objective_ms();
    const auto place =
        std::ranges::lower_bound(members_, value - twin_ms, {}, &order_candidate::objective_ms);
    if (place != members_.end() && place->objective_ms() < value + twin_ms) return;
    members_.insert(place, child);
    if (members_.size() > population_max) members_.pop_back();
  }

 private:
  std::vector<order_candidate> members_;  ///< the best first
};

class search {
 public:
  search(const batch_problem& problem, order_prediction& prediction,
         std::vector<order_candidate> seeds, std::uint64_t seed)
      : problem_(problem),
        prediction_(prediction),
        random_(seed, search_random::stream::search),
        moves_(problem),
        choice_(moves_),
        members_(std::move(seeds)) {}

  order_candidate run() {
    try_bounds();
    champion_ = members_.best();
    if (choice_.is_empty()) return champion_;
    const std::uint32_t count = affordable_samples();
    if (count == compose_sample_count) {
      evolve();
    } else if (!run_on_few(count)) {
      return champion_;
    }
    anneal(1.0);
    return champion_;
  }

 private:
  /// The best seed under other bounds.
  void try_bounds() {
    const double most = problem_.limits.sequences_max;
    for (const double share : bound_shares)
      if (!try_bound(share * most)) break;
    for (const double share : bound_steps) {
      const double at = members_.best().running_max;
      const double step = std::max<double>(problem_.bound_step(), std::ceil(share * most));
      try_bound(at - step);
      try_bound(at + step);
    }
  }

  /// False where it is clearly worse.
  bool try_bound(double bound) {
    child_ = members_.best();
    child_.running_max = problem_.bound_near(bound);
    if (child_.running_max == members_.best().running_max) return true;
    // What all bounds are doubted by says nothing of whether a smaller one is better still.
    const bool is_first = members_.best().running_max == problem_.limits.sequences_max;
    const double doubt = is_first ? problem_.bound_doubt : 0.0;
    if (!prediction_.race(child_, members_.best(), slack_bound, doubt)) return false;
    members_.insert(child_);
    return true;
  }

  [[nodiscard]] std::uint32_t affordable_samples() const {
    const double replays = static_cast<double>(prediction_.replays()) / prediction_.spent();
    for (const few_samples& each : few_sample_counts)
      if (replays <= each.replays_max * problem_.waiting_count) return each.count;
    return compose_sample_count;
  }

  /// False where the budget ended before the champion could be predicted on all samples.
  bool run_on_few(std::uint32_t count) {
    const order_candidate certain = champion_;
    prediction_.use_samples(count);
    members_.use_samples(count);
    champion_ = members_.best();
    evolve();
    anneal(few_samples_share);
    const bool has_ended = prediction_.has_ended();
    prediction_.use_samples(compose_sample_count);
    if (!has_ended) prediction_.predict(champion_);
    if (has_ended || certain.objective_ms() < champion_.objective_ms()) champion_ = certain;
    return !has_ended;
  }

  void evolve() {
    const auto may_breed = [&] { return prediction_.spent() < genetic_share; };
    std::uint32_t shuffles = moves_.is_of_use(order_move::shuffle) ? shuffles_min : 0;
    while (shuffles-- != 0 && prediction_.spent() < shuffles_share)
      if (breed(order_move::shuffle)) shuffles = shuffles_more;
    for (std::uint32_t restarts = 0; restarts < vain_restarts_max && may_breed();) {
      const double before_ms = champion_.objective_ms();
      for (std::uint32_t stale = 0; stale < stale_children_max && may_breed();)
        stale = breed(choice_.choose(random_, true)) ? 0 : stale + 1;
      restarts = champion_.objective_ms() < before_ms ? 0 : restarts + 1;
      if (may_breed()) restart();
    }
  }

  /// One child; true when it is the best of its population.
  bool breed(order_move move) {
    const std::uint64_t replays = prediction_.replays();
    const double best_ms = members_.best().objective_ms();
    const order_candidate* rival = &members_.middle();
    double slack = slack_far;
    if (takes_two_parents(move)) {
      const order_candidate& left = members_.by_tournament(random_);
      moves_.cross(move, left, members_.by_tournament(random_), child_, random_);
    } else if (random_.uniform() < local_share) {
      rival = &members_.best();
      slack = slack_near;
      prediction_.expect_like(*rival);
      child_ = members_.best();
      if (!moves_.mutate(move, child_, random_)) return false;
    } else {
      child_ = members_.by_tournament(random_);
      if (!moves_.mutate(move, child_, random_)) return false;
    }
    if (prediction_.race(child_, *rival, slack)) members_.insert(child_);
    const double gain = 1.0 - members_.best().objective_ms() / best_ms;
    choice_.learn(move, gain, prediction_.replays() - replays);
    if (members_.best().objective_ms() < champion_.objective_ms()) champion_ = members_.best();
    return gain > 0.0;
  }

  void restart() {
    child_ = champion_;
    for (std::uint32_t left = 2 + random_.below(kick_moves_max - 1); left != 0; --left)
      moves_.mutate(random_.below(2) == 0 ? order_move::insert : order_move::swap, child_, random_);
    prediction_.predict(child_);
    members_ = population({child_});
  }

  /// Until this share of the budget is spent. Move by move from the champion; a worse order is
  /// taken the less often the less budget is left (Kirkpatrick, Gelatt, Vecchi, 1983). How much
  /// worse is drawn first, so that bad ones lose their race early.
  void anneal(double end) {
    order_candidate now = champion_;
    const double begun = prediction_.spent();
    for (std::uint32_t vain = 0; vain < vain_moves_max && prediction_.spent() < end;) {
      const double done = (prediction_.spent() - begun) / (end - begun);
      const double worse =
          -hottest * std::pow(coldest / hottest, done) * std::log(random_.uniform());
      child_ = now;
      const order_move move = choice_.choose(random_, false);
      vain = moves_.mutate(move, child_, random_) ? 0 : vain + 1;
      if (vain != 0) continue;
      const std::uint64_t replays = prediction_.replays();
      prediction_.expect_like(now);
      const bool is_raced = prediction_.race(child_, now, slack_near, worse);
      const double gain = is_raced ? 1.0 - child_.objective_ms() / now.objective_ms() : -worse;
      choice_.learn(move, std::max(0.0, gain), prediction_.replays() - replays);
      if (!is_raced || gain < -worse) continue;
      std::swap(now, child_);
      if (now.objective_ms() < champion_.objective_ms()) champion_ = now;
    }
  }

  const batch_problem& problem_;
  order_prediction& prediction_;
  search_random random_;
  order_moves moves_;
  move_choice choice_;
  population members_;
  order_candidate champion_;  ///< the best of all
  order_candidate child_;
};

}  // namespace

order_candidate improve_by_genetic_search(const batch_problem& problem,
                                          order_prediction& prediction,
                                          std::vector<order_candidate> population,
                                          std::uint64_t seed) {
  return search(problem, prediction, std::move(population), seed).run();
}

}  // namespace troupe
