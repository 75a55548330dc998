#include "actors/composer/composer.hpp"

#include "actors/base/messages.hpp"
#include "kernels/base/thread_pool.hpp"
#include "runtime/schedule/compose/search_time.hpp"

namespace troupe {

namespace {

// No states: every view is answered by one plan.
class composer_state {
 public:
  static constexpr const char* name = "composer";

  composer_state(caf::event_based_actor* self, composer_options options)
      : self_(self), options_(std::move(options)) {}

  caf::behavior make_behavior() {
    if (options_.where == placement::detached) set_thread_nice(options_.nice);
    return {[this](const compose_batches_for& order) {
      auto plan = std::make_shared<const async_plan>(
          compose_batches(*order.view, options_.search,
                          timed_budget(options_.cpu_now, options_.now, options_.time_max)));
      // Equal histories give equal plans, but no two searches are the same.
      ++options_.search.seed;
      send_to(caf::actor_cast<caf::actor>(self_->current_sender()),
              batches_composed{std::move(plan)});
    }};
  }

 private:
  caf::event_based_actor* self_;
  composer_options options_;
};

}  // namespace

caf::actor spawn_composer(caf::actor_system& system, const composer_options& options) {
  return spawn_actor<composer_state>(system, options.where, options);
}

}  // namespace troupe
