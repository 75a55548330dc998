// The scheduler actor: drives one replica's scheduler_core. Keeps the worker busy while there is
// work, seals the next plan at each step_done, and reports each step's changes to the router in one
// message.
//   from the router: enqueue_request, cancel_scheduled, stop_scheduled_sequence
//   from the worker: step_done
//   to the router: step_updates, enqueue_refused, deadline_passed; to the worker: execute_step
//   with a tier below the device: find_blocks and store_blocks to the kv_pool; blocks_found and
//   blocks_stored from it
//   to the composer, when much waits in the async lane: compose_batches_for; batches_composed from
//   it
#pragma once

#include <cstdint>
#include <memory>

#include <caf/actor.hpp>

#include "actors/base/spawn.hpp"
#include "runtime/observe/metrics.hpp"
#include "runtime/observe/step_watch.hpp"
#include "runtime/schedule/compose/compose_pace.hpp"
#include "runtime/schedule/scheduler_core.hpp"

namespace troupe {

struct scheduler_options {
  scheduler_limits limits;
  std::uint64_t incarnation = 0;
  caf::actor router;
  caf::actor worker;
  std::shared_ptr<metrics> measured;
  std::shared_ptr<step_watch> watch;
  clock_source now = steady_now;
  placement where = placement::detached;
  caf::actor kv_pool = {};             ///< null unless limits.enable_offload
  caf::actor composer = {};            ///< null: the async lane goes by its own order
  compose_pace pace = compose_pace();  ///< of the composer's searches
};

caf::actor spawn_scheduler(caf::actor_system& system, const scheduler_options& options);

}  // namespace troupe
