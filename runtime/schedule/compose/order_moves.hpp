// How the search makes one order of another: mutations, and crossover by keys. A key is where a
// request or a group of requests with a shared prefix stands, from 0 (first) to 1 (last); a
// request's keys are its groups', each relative to the group around it, and its own, relative to
// the innermost. Their sum sorts the requests: groups move and mix as wholes, and any order can be
// written in keys.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/schedule/compose/order_prediction.hpp"
#include "runtime/schedule/compose/search_random.hpp"

namespace troupe {

enum class order_move : std::uint8_t {
  // Of one parent.
  move_run,      ///< neighbours to a place nearby
  insert,        ///< one request to any place
  swap,          ///< two requests
  gather_group,  ///< the requests of one group together
  sort_window,   ///< neighbours into the order of a seed
  hurry,         ///< a late or short request to an earlier place
  postpone,      ///< a long request to a later one
  change_bound,  ///< of running sequences
  shuffle,       ///< everything
  // Of two.
  cut,     ///< the first requests of one, then the others as the other has them
  choose,  ///< each key from either
  blend,   ///< all keys between both, or a little beyond
};
struct move_kind {
  order_move move;
  double odds = 1.0;  ///< before anything is known of a problem; found by trying
};
inline constexpr std::array all_move_kinds{
    move_kind{order_move::move_run},      move_kind{order_move::insert, 3.0},
    move_kind{order_move::swap, 3.0},     move_kind{order_move::gather_group, 0.7},
    move_kind{order_move::sort_window},   move_kind{order_move::hurry, 2.0},
    move_kind{order_move::postpone, 2.0}, move_kind{order_move::change_bound, 0.7},
    move_kind{order_move::shuffle, 0.7},  move_kind{order_move::cut},
    move_kind{order_move::choose, 0.7},   move_kind{order_move::blend}};

constexpr bool takes_two_parents(order_move move) {
  return move >= order_move::cut;
}

class order_moves {
 public:
  explicit order_moves(const batch_problem& problem);

  /// Whether the move can do anything for this problem.
  [[nodiscard]] bool is_of_use(order_move kind) const;
  /// For moves of one parent: changes the candidate; false where it stayed as it was.
  bool mutate(order_move kind, order_candidate& candidate, search_random& random);
  /// For moves of two: a child with the bound of either.
  void cross(order_move kind, const order_candidate& left, const order_candidate& right,
             order_candidate& child, search_random& random);

 private:
  using requests = std::vector<std::uint32_t>;
  struct keys {
    std::vector<double> nodes, requests;
  };

  void move_run(requests& order, search_random& random);
  void insert_one(requests& order, search_random& random);
  void move_by_need(order_candidate& candidate, bool to_front, search_random& random);
  void swap_two(requests& order, search_random& random);
  void gather_group(requests& order, search_random& random);
  void sort_window(requests& order, search_random& random);
  void shuffle(order_candidate& candidate, search_random& random);
  void change_bound(order_candidate& candidate, search_random& random);
  void put_in_precedence(requests& order) const;

  void write_keys(std::span<const std::uint32_t> order, keys& into);
  void choose_keys(search_random& random);
  void blend_keys(search_random& random);
  void read_keys(requests& into);
  void cross_at_cut(const order_candidate& left, const order_candidate& right,
                    order_candidate& child, search_random& random);

  const batch_problem& problem_;
  std::vector<requests> seed_ranks_;  ///< of each request in each seed order
  bool has_precedence_ = false, has_deadlines_ = false;
  keys left_, right_;
  std::vector<std::uint32_t> member_counts_;  ///< requests below each node
  std::vector<bool> from_right_;              ///< nodes
  std::vector<double> scores_;
  requests scratch_;
};

}  // namespace troupe
