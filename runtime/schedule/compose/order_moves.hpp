// How the search makes one order of another: mutations, and crossover by keys. A key is where a
// request or a group of requests with a shared prefix stands, from 0 (first) to 1 (last); a
// request's keys are its groups', each relative to the group around it, and its own, relative to
// the innermost. Their sum sorts the requests: groups move and mix as wholes, and any order can be
// written in keys.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/schedule/compose/order_prediction.hpp"
#include "runtime/schedule/compose/search_random.hpp"

namespace troupe {

class order_moves {
 public:
  explicit order_moves(const batch_problem& problem);

  /// A small random change of the order or of the bound of running sequences.
  void mutate(order_candidate& candidate, search_random& random);
  /// Keys from both, and a bound from either.
  void cross(const order_candidate& left, const order_candidate& right, order_candidate& child,
             search_random& random);

 private:
  using requests = std::vector<std::uint32_t>;
  struct keys {
    std::vector<double> nodes, requests;
  };

  void move_run(requests& order, search_random& random);
  void swap_two(requests& order, search_random& random);
  void gather_group(requests& order, search_random& random);
  void sort_window(requests& order, search_random& random);
  void move_to_edge(requests& order, search_random& random);
  void change_bound(order_candidate& candidate, search_random& random);
  void put_in_priority_order(requests& order) const;

  void write_keys(std::span<const std::uint32_t> order, keys& into);
  void cross_keys(search_random& random);
  void read_keys(requests& into);
  void cross_at_cut(const order_candidate& left, const order_candidate& right,
                    order_candidate& child, search_random& random);

  const batch_problem& problem_;
  std::vector<requests> seed_ranks_;  ///< of each request in each seed order
  bool has_priorities_ = false;
  keys left_, right_;
  std::vector<std::uint32_t> member_counts_;  ///< requests below each node
  std::vector<bool> from_right_;              ///< nodes
  std::vector<double> scores_;
  requests scratch_;
};

}  // namespace troupe
