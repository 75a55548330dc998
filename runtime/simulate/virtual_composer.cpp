#include "runtime/simulate/virtual_composer.hpp"

#include <chrono>

#include "config/limits.hpp"

namespace troupe::simulate {

void virtual_composer::step_begins(const scheduler_core& core, monotonic_time now) {
  if (settings_.replays_max == 0 || found_ || now < next_at_) return;
  const auto view = core.async_view(now);
  if (!view) return;
  next_at_ = now + std::chrono::milliseconds{limits::compose_interval_ms};
  found_at_ = now + settings_.time;
  found_ = compose_batches(
      *view, search_, [this](std::uint64_t replays) { return replays < settings_.replays_max; });
  ++search_.seed;
}

void virtual_composer::step_ends(scheduler_core& core, monotonic_time now) {
  if (!found_ || now < found_at_) return;
  core.apply(*found_, found_at_);
  found_.reset();
}

}  // namespace troupe::simulate
