// Replays of orders that begin alike. The search changes one order again and again; until the first
// request that is another, a replay is the same. States of the replays of that order, the base, are
// kept at some places, and a replay begins at the last one before its order departs from the base.
// What comes out is what a whole replay says, to the bit.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/schedule/compose/batch_replay.hpp"

namespace troupe {

class prefix_replay {
 public:
  explicit prefix_replay(const batch_problem& problem);

  /// The order that those to come are like. States of the one before stay where both are the same.
  void set_base(std::span<const std::uint32_t> order, std::uint32_t running_max);
  /// As batch_replay::run(). The order must live until the next call.
  replay_outcome run(std::span<const std::uint32_t> order, std::uint32_t running_max,
                     std::uint32_t sample);
  /// Of the last run.
  [[nodiscard]] std::span<const float> lateness_ms() const { return replay_.lateness_ms(); }

 private:
  /// A replay of the base on one sample, kept at one place.
  using kept_state = std::optional<batch_replay>;

  [[nodiscard]] std::size_t alike(std::span<const std::uint32_t> order,
                                  std::uint32_t running_max) const;

  batch_replay replay_;
  std::size_t place_count_ = 0;
  std::vector<std::uint32_t> base_;
  std::uint32_t base_running_max_ = 0;
  std::vector<kept_state> states_;  ///< [sample][place]
  std::vector<bool> is_kept_;       ///< of those: others are old
};

}  // namespace troupe
