#include "runtime/simulate/virtual_composer.hpp"

namespace troupe::simulate {

void virtual_composer::step_begins(const scheduler_core& core, monotonic_time now) {
  if (settings_.replays_max == 0 || !pace_.is_due(now)) return;
  const auto view = core.async_view(now);
  if (!view) return;
  pace_.begin(now, view->waiting.size());
  found_at_ = now + settings_.time;
  found_ = compose_batches(*view, search_, replay_budget(settings_.replays_max));
  ++search_.seed;
}

void virtual_composer::step_ends(scheduler_core& core, monotonic_time now) {
  if (!found_ || now < found_at_) return;
  pace_.end(found_->search_gain_ms());
  core.apply(*found_, found_at_);
  found_.reset();
}

}  // namespace troupe::simulate
