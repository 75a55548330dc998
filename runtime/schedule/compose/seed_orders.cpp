#include "runtime/schedule/compose/seed_orders.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <tuple>

namespace troupe {
namespace {

/// Rows that a request is expected to take, over its samples.
std::vector<double> expected_rows(const batch_problem& problem) {
  std::vector<double> rows(problem.waiting_count);
  for (std::uint32_t i = 0; i < problem.waiting_count; ++i) {
    double output = 0.0;
    for (std::uint32_t sample = 0; sample < compose_sample_count; ++sample)
      output += problem.lengths_of(sample)[i];
    rows[i] = problem.prompt_tokens[i] + problem.width[i] * output / compose_sample_count;
  }
  return rows;
}

/// For each node the least of a property of the requests below it.
template <class Property>
std::vector<double> least_below(const batch_problem& problem, Property property) {
  std::vector<double> least(problem.tree.nodes().size(), std::numeric_limits<double>::infinity());
  for (std::uint32_t i = 0; i < problem.waiting_count; ++i)
    for (const std::uint32_t node : problem.tree.path_of(i))
      least[node] = std::min(least[node], property(i));
  return least;
}

/// Requests in the order of a walk over the tree that enters the subtree or request with the least
/// property first: along a path, compares where two requests part.
template <class Property>
std::vector<std::uint32_t> depth_first(const batch_problem& problem, Property property) {
  const std::vector<double> least = least_below(problem, property);
  struct branch {
    double least = 0.0;
    std::uint32_t run = 0;  ///< a node, or behind them a request
    auto operator<=>(const branch&) const = default;
  };
  const auto node_count = static_cast<std::uint32_t>(least.size());
  const auto at = [&](std::uint32_t request, std::size_t level) {
    const auto path = problem.tree.path_of(request);
    if (level < path.size()) return branch{least[path[level]], path[level]};
    return branch{property(request), node_count + request};
  };
  std::vector<std::uint32_t> order(problem.waiting_count);
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::sort(order, [&](std::uint32_t left, std::uint32_t right) {
    if (left == right) return false;
    std::size_t level = 0;
    while (at(left, level).run == at(right, level).run) ++level;
    return at(left, level) < at(right, level);
  });
  return order;
}

template <class Property>
std::vector<std::uint32_t> sorted_by(const batch_problem& problem, Property property) {
  std::vector<std::uint32_t> order(problem.waiting_count);
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::stable_sort(order, {}, property);
  return order;
}

std::vector<std::uint32_t> plain_order_of(const batch_problem& problem, seed_order which) {
  switch (which) {
    case seed_order::fifo:
      return sorted_by(problem, [&](std::uint32_t i) { return -problem.waited_ms[i]; });
    case seed_order::longest_first:
      return sorted_by(problem,
                       [rows = expected_rows(problem)](std::uint32_t i) { return -rows[i]; });
    case seed_order::shortest_first:
      return sorted_by(problem,
                       [rows = expected_rows(problem)](std::uint32_t i) { return rows[i]; });
    case seed_order::earliest_deadline:
      return sorted_by(problem, [&](std::uint32_t i) { return problem.due_ms[i]; });
    case seed_order::longest_prefix:
      return depth_first(
          problem, [&](std::uint32_t i) { return -static_cast<double>(problem.path_blocks(i)); });
    case seed_order::depth_first_deadline:
      return depth_first(problem, [&](std::uint32_t i) { return problem.due_ms[i]; });
  }
  return {};
}

}  // namespace

std::vector<std::uint32_t> seed_order_of(const batch_problem& problem, seed_order which) {
  std::vector<std::uint32_t> order = plain_order_of(problem, which);
  std::ranges::stable_sort(order, {}, [&](std::uint32_t i) { return problem.precedence[i]; });
  return order;
}

}  // namespace troupe
