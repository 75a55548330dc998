// The worker: the one thread which touches the device. Executes sealed step plans and nothing else.
//   execute_step -> step_done (urgent) to the sender.
// An executor that throws ends the actor; the supervisor restarts the replica.
#pragma once

#include <functional>
#include <memory>

#include <caf/actor.hpp>

#include "actors/base/spawn.hpp"
#include "runtime/execute/step_executor.hpp"

namespace troupe {

/// Called on the worker's own thread, so that memory is first touched there.
using executor_factory = std::function<std::unique_ptr<step_executor>()>;

struct worker_options {
  executor_factory make_executor;
  int nice = 10;  ///< of the compute threads
  placement where = placement::detached;
};

caf::actor spawn_worker(caf::actor_system& system, const worker_options& options);

}  // namespace troupe
