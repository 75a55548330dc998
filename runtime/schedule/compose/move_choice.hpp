// Which move the search tries next: the more a move has gained for each replay, the more often.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "runtime/schedule/compose/order_moves.hpp"

namespace troupe {

class move_choice {
 public:
  explicit move_choice(const order_moves& moves) {
    for (const move_kind& each : all_move_kinds)
      if (moves.is_of_use(each.move)) records_.push_back({each});
    mutation_count_ = static_cast<std::size_t>(std::ranges::count_if(
        records_, [](const record& each) { return !takes_two_parents(each.kind.move); }));
  }

  /// crosses: those of two parents too. Moves of one come first.
  order_move choose(search_random& random, bool crosses) {
    const std::size_t count = crosses ? records_.size() : mutation_count_;
    double sum = 0.0;
    for (std::size_t i = 0; i < count; ++i) sum += odds(records_[i]);
    double left = random.uniform() * sum;
    std::size_t chosen = 0;
    while (chosen + 1 < count && (left -= odds(records_[chosen])) >= 0.0) ++chosen;
    return records_[chosen].kind.move;
  }
  /// What a move, one of those that are of use, has brought: a share of the objective.
  void learn(order_move move, double gain, std::uint64_t replays) {
    record& of =
        *std::ranges::find(records_, move, [](const record& each) { return each.kind.move; });
    of.gain = keep * of.gain + gain;
    of.replays = keep * of.replays + static_cast<double>(replays);
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
  static constexpr double trust = 6.0;
  static constexpr double share_min = 0.3;

  [[nodiscard]] double odds(const record& of) const {
    const double mean = (gain_ + 1e-9) / (replays_ + 1.0);
    const double expected = mean * of.kind.odds;
    return share_min * expected + (of.gain + trust * expected) / (of.replays + trust);
  }

  std::vector<record> records_;
  std::size_t mutation_count_ = 0;
  double gain_ = 0.0, replays_ = 0.0;
};

}  // namespace troupe
