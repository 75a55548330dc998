#include "runtime/schedule/compose/order_moves.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/base/check.hpp"
#include "runtime/schedule/compose/seed_orders.hpp"

namespace troupe {
namespace {

/// How likely a group or a request takes its key from where the group around it took its own.
constexpr double follows_group = 0.8;
/// How far a blend may leave the range between its parents, as a share of it.
constexpr double beyond = 0.2;
/// Of how many requests, drawn at random, the one that needs it most is moved.
constexpr int need_tries = 3;
constexpr auto shortest_first = static_cast<std::size_t>(seed_order::shortest_first);

using difference = std::vector<std::uint32_t>::difference_type;

/// 1 .. bound, small numbers more often: each power of two is as likely as the next.
std::uint32_t scattered(std::uint32_t bound, search_random& random) {
  std::uint32_t most = 1;
  while (most < bound && random.below(2) == 0) most *= 2;
  return 1 + random.below(std::min(most, bound));
}

}  // namespace

order_moves::order_moves(const batch_problem& problem)
    : problem_(problem),
      member_counts_(problem.tree.nodes().size(), 0),
      from_right_(problem.tree.nodes().size()),
      scores_(problem.waiting_count) {
  for (const seed_order which : all_seed_orders) {
    const requests order = seed_order_of(problem, which);
    requests ranks(order.size());
    for (std::uint32_t i = 0; i < order.size(); ++i) ranks[order[i]] = i;
    seed_ranks_.push_back(std::move(ranks));
  }
  for (std::uint32_t i = 0; i < problem.waiting_count; ++i) {
    has_deadlines_ = has_deadlines_ || std::isfinite(problem.due_ms[i]);
    has_precedence_ = has_precedence_ || problem.precedence[i] != problem.precedence[0];
    for (const std::uint32_t node : problem.tree.path_of(i)) ++member_counts_[node];
  }
}

bool order_moves::is_of_use(order_move kind) const {
  switch (kind) {
    case order_move::change_bound: return problem_.width_max < problem_.limits.sequences_max;
    case order_move::gather_group: return !problem_.tree.nodes().empty();
    case order_move::hurry:
    case order_move::postpone: return has_deadlines_;
    default: return problem_.waiting_count > 1;
  }
}

bool order_moves::mutate(order_move kind, order_candidate& candidate, search_random& random) {
  requests& order = candidate.order;
  scratch_ = order;
  const std::uint32_t bound = candidate.running_max;
  switch (kind) {
    case order_move::move_run: move_run(order, random); break;
    case order_move::insert: insert_one(order, random); break;
    case order_move::swap: swap_two(order, random); break;
    case order_move::gather_group: gather_group(order, random); break;
    case order_move::sort_window: sort_window(order, random); break;
    case order_move::hurry: move_by_need(candidate, true, random); break;
    case order_move::postpone: move_by_need(candidate, false, random); break;
    case order_move::change_bound: change_bound(candidate, random); break;
    case order_move::shuffle: shuffle(candidate, random); break;
    default: TROUPE_CHECK(false);
  }
  put_in_precedence(order);
  return order != scratch_ || candidate.running_max != bound;
}

/// A run of neighbours to another place.
void order_moves::move_run(requests& order, search_random& random) {
  const auto count = static_cast<std::uint32_t>(order.size());
  const std::uint32_t length = scattered(std::max(1u, count / 4), random);
  const std::uint32_t first = random.below(count - length + 1);
  const std::uint32_t far = count - length;
  if (far == 0) return;
  const std::uint32_t distance = scattered(far, random);
  const auto at = [&](std::uint32_t place) {
    return order.begin() + static_cast<difference>(place);
  };
  if (random.below(2) == 0) {
    const std::uint32_t to = first - std::min(first, distance);
    std::rotate(at(to), at(first), at(first + length));
  } else {
    const std::uint32_t to = std::min(count, first + length + distance);
    std::rotate(at(first), at(first + length), at(to));
  }
}

void order_moves::insert_one(requests& order, search_random& random) {
  const auto count = static_cast<std::uint32_t>(order.size());
  const std::uint32_t from = random.below(count), to = random.below(count);
  const auto at = [&](std::uint32_t place) {
    return order.begin() + static_cast<difference>(place);
  };
  if (from < to) {
    std::rotate(at(from), at(from + 1), at(to + 1));
  } else {
    std::rotate(at(to), at(from), at(from + 1));
  }
}

/// Of a few requests the latest or the shortest towards the front, or the longest towards the end.
void order_moves::move_by_need(order_candidate& candidate, bool to_front, search_random& random) {
  requests& order = candidate.order;
  const auto count = static_cast<std::uint32_t>(order.size());
  const bool by_lateness = to_front && random.below(2) == 0;
  const std::vector<std::uint32_t>& from_short = seed_ranks_[shortest_first];
  const auto need = [&](std::uint32_t place) {
    const std::uint32_t request = order[place];
    if (by_lateness) return static_cast<double>(candidate.lateness_ms[request]);
    return to_front ? -static_cast<double>(from_short[request]) : from_short[request];
  };
  std::uint32_t from = random.below(count);
  for (int i = 1; i < need_tries; ++i) {
    const std::uint32_t other = random.below(count);
    if (need(other) > need(from)) from = other;
  }
  const auto at = [&](std::uint32_t place) {
    return order.begin() + static_cast<difference>(place);
  };
  if (to_front) {
    std::rotate(at(random.below(from + 1)), at(from), at(from + 1));
  } else {
    std::rotate(at(from), at(from + 1), at(from + 1 + random.below(count - from)));
  }
}

void order_moves::swap_two(requests& order, search_random& random) {
  const auto count = static_cast<std::uint32_t>(order.size());
  std::swap(order[random.below(count)], order[random.below(count)]);
}

/// The requests of one group together, at one of them.
void order_moves::gather_group(requests& order, search_random& random) {
  const std::uint32_t anchor = random.below(static_cast<std::uint32_t>(order.size()));
  const auto path = problem_.tree.path_of(order[anchor]);
  if (path.empty()) return;
  const std::uint32_t level = random.below(static_cast<std::uint32_t>(path.size()));
  const std::uint32_t group = path[level];
  const auto is_member = [&](std::uint32_t request) {
    const auto other = problem_.tree.path_of(request);
    return level < other.size() && other[level] == group;
  };
  const auto middle = order.begin() + static_cast<difference>(anchor);
  std::stable_partition(order.begin(), middle,
                        [&](std::uint32_t each) { return !is_member(each); });
  std::stable_partition(middle, order.end(), is_member);
}

/// A window of neighbours into the order of one of the seeds.
void order_moves::sort_window(requests& order, search_random& random) {
  const auto count = static_cast<std::uint32_t>(order.size());
  const std::uint32_t length = std::min(count, 1 + scattered(count, random));
  const std::uint32_t first = random.below(count - length + 1);
  const requests& ranks = seed_ranks_[random.below(static_cast<std::uint32_t>(seed_ranks_.size()))];
  const auto begin = order.begin() + static_cast<difference>(first);
  std::ranges::sort(begin, begin + static_cast<difference>(length), {},
                    [&](std::uint32_t each) { return ranks[each]; });
}

void order_moves::shuffle(order_candidate& candidate, search_random& random) {
  requests& order = candidate.order;
  const auto count = static_cast<std::uint32_t>(order.size());
  for (std::uint32_t i = 0; i < count; ++i) std::swap(order[i], order[i + random.below(count - i)]);
  const std::uint32_t least = problem_.width_max, most = problem_.limits.sequences_max;
  if (random.below(5) == 0)
    candidate.running_max = problem_.bound_near(least + random.below(most - least + 1));
}

void order_moves::change_bound(order_candidate& candidate, search_random& random) {
  const std::uint32_t least = problem_.width_max, most = problem_.limits.sequences_max;
  const std::uint32_t unit = problem_.bound_step();
  const double step = unit * scattered(std::max(1u, most / (4 * unit)), random);
  const double now = candidate.running_max;
  switch (random.below(4)) {
    case 0: candidate.running_max = problem_.bound_near(now + step); break;
    case 1: candidate.running_max = problem_.bound_near(now - step); break;
    default:
      candidate.running_max = problem_.bound_near(least + random.below(most - least + 1));
      break;
  }
}

void order_moves::put_in_precedence(requests& order) const {
  if (!has_precedence_) return;
  std::ranges::stable_sort(order, {},
                           [&](std::uint32_t each) { return problem_.precedence[each]; });
}

void order_moves::cross(order_move kind, const order_candidate& left, const order_candidate& right,
                        order_candidate& child, search_random& random) {
  child.running_max = random.below(2) == 0 ? left.running_max : right.running_max;
  if (kind == order_move::cut) {
    cross_at_cut(left, right, child, random);
  } else {
    write_keys(left.order, left_);
    write_keys(right.order, right_);
    kind == order_move::choose ? choose_keys(random) : blend_keys(random);
    read_keys(child.order);
  }
  put_in_precedence(child.order);
}

/// The first requests of one, then the others in the order of the other.
void order_moves::cross_at_cut(const order_candidate& left, const order_candidate& right,
                               order_candidate& child, search_random& random) {
  const std::uint32_t cut = random.below(static_cast<std::uint32_t>(left.order.size()));
  std::ranges::fill(scores_, 0.0);
  child.order.assign(left.order.begin(), left.order.begin() + static_cast<difference>(cut));
  for (const std::uint32_t each : child.order) scores_[each] = 1.0;
  for (const std::uint32_t each : right.order) {
    if (scores_[each] == 0.0) child.order.push_back(each);
  }
}

/// A node's key is the mean place of the requests below it, less that of the node around it.
void order_moves::write_keys(std::span<const std::uint32_t> order, keys& into) {
  const auto nodes = problem_.tree.nodes();
  into.nodes.assign(nodes.size(), 0.0);
  into.requests.resize(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const double place = static_cast<double>(i) / static_cast<double>(order.size());
    into.requests[order[i]] = place;
    for (const std::uint32_t node : problem_.tree.path_of(order[i])) into.nodes[node] += place;
  }
  for (std::size_t i = 0; i < nodes.size(); ++i) into.nodes[i] /= std::max(1u, member_counts_[i]);
  for (std::uint32_t i = 0; i < order.size(); ++i) {
    const auto path = problem_.tree.path_of(i);
    if (!path.empty()) into.requests[i] -= into.nodes[path.back()];
  }
  for (std::size_t i = nodes.size(); i-- != 0;) {
    if (nodes[i].parent != prefix_node::none) into.nodes[i] -= into.nodes[nodes[i].parent];
  }
}

/// Each key from either, into left_.
void order_moves::choose_keys(search_random& random) {
  const auto nodes = problem_.tree.nodes();
  const auto choose = [&](std::uint32_t around) {
    const bool follows = around != prefix_node::none && random.uniform() < follows_group;
    return follows ? bool{from_right_[around]} : random.below(2) == 0;
  };
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    from_right_[i] = choose(nodes[i].parent);
    if (from_right_[i]) left_.nodes[i] = right_.nodes[i];
  }
  for (std::uint32_t i = 0; i < left_.requests.size(); ++i) {
    const auto path = problem_.tree.path_of(i);
    if (choose(path.empty() ? prefix_node::none : path.back()))
      left_.requests[i] = right_.requests[i];
  }
}

/// All keys between both or a little beyond, into left_: of two rules, a rule that weighs them.
void order_moves::blend_keys(search_random& random) {
  const double weight = beyond * (2.0 * random.uniform() - 1.0) + random.uniform();
  const auto blend = [weight](std::vector<double>& to, const std::vector<double>& from) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += weight * (from[i] - to[i]);
  };
  blend(left_.nodes, right_.nodes);
  blend(left_.requests, right_.requests);
}

/// From left_.
void order_moves::read_keys(requests& into) {
  for (std::uint32_t i = 0; i < scores_.size(); ++i) {
    scores_[i] = left_.requests[i];
    for (const std::uint32_t node : problem_.tree.path_of(i)) scores_[i] += left_.nodes[node];
  }
  into.resize(scores_.size());
  std::iota(into.begin(), into.end(), 0u);
  std::ranges::sort(into, [&](std::uint32_t left, std::uint32_t right) {
    return scores_[left] != scores_[right] ? scores_[left] < scores_[right] : left < right;
  });
}

}  // namespace troupe
