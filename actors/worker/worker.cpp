#include "actors/worker/worker.hpp"

#include "actors/base/messages.hpp"
#include "kernels/base/thread_pool.hpp"

namespace troupe {

namespace {

//   idle --execute_step--> executing --step_done--> idle
class worker_state {
 public:
  static constexpr const char* name = "worker";

  worker_state(caf::event_based_actor* self, worker_options options)
      : self_(self), options_(std::move(options)) {}

  caf::behavior make_behavior() {
    if (options_.where == placement::detached) set_thread_nice(options_.nice);
    executor_ = options_.make_executor();
    return {[this](const execute_step& order) {
      auto result = std::make_shared<step_result>(executor_->execute(*order.plan));
      const auto scheduler = caf::actor_cast<caf::actor>(self_->current_sender());
      self_->send<caf::message_priority::high>(scheduler, step_done{std::move(result)});
    }};
  }

 private:
  caf::event_based_actor* self_;
  worker_options options_;
  std::unique_ptr<step_executor> executor_;
};

}  // namespace

caf::actor spawn_worker(caf::actor_system& system, const worker_options& options) {
  return spawn_actor<worker_state>(system, options.where, options);
}

}  // namespace troupe
