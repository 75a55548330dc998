// The composer of asynchronous batches on virtual time: what the scheduler and composer actors do
// with each other, with a bound of predictions in the place of one of wall time.
#pragma once

#include <optional>

#include "runtime/schedule/compose/compose.hpp"
#include "runtime/schedule/compose/compose_pace.hpp"
#include "runtime/schedule/scheduler_core.hpp"

namespace troupe::simulate {

struct composer_settings {
  std::uint32_t replays_max = 0;  ///< predictions of one search beyond the seeds'; 0: no composer
  monotonic_time time{};          ///< that a search takes
};

class virtual_composer {
 public:
  explicit virtual_composer(const composer_settings& settings) : settings_(settings) {}

  /// A request of the async lane was submitted.
  void arrived() { pace_.arrived(); }
  /// A step was planned: begins a search where one is due and there is something to order.
  void step_begins(const scheduler_core& core, monotonic_time now);
  /// Hands over what was found by `now`.
  void step_ends(scheduler_core& core, monotonic_time now);

 private:
  composer_settings settings_;
  compose_options search_;
  compose_pace pace_;
  std::optional<async_plan> found_;
  monotonic_time found_at_{};
};

}  // namespace troupe::simulate
