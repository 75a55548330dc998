// The supervisor: spawns scheduler and worker as one replica, monitors every long-lived actor,
// restarts the replica when one of its halves dies, and drains on request. The only actor that
// monitors.
//   from wiring: begin_drain; to wiring: the two callbacks
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <caf/actor.hpp>

#include "actors/base/messages.hpp"
#include "actors/base/spawn.hpp"
#include "runtime/observe/engine_status.hpp"

namespace troupe {

struct replica {
  caf::actor scheduler;
  caf::actor worker;
};

struct supervisor_options {
  caf::actor router;
  caf::actor gateway;
  std::vector<caf::actor> essential;  ///< actors that cannot be restarted: router, gateway, kv_pool
  /// Spawns a replica of the given incarnation.
  std::function<replica(caf::actor_system&, std::uint64_t incarnation)> make_replica;
  std::shared_ptr<engine_status> status;
  std::function<void(std::string reason)> on_fatal;  ///< the engine is dead; called once
  std::function<void()> on_drained;                  ///< nothing is running any more
  clock_source now = steady_now;
};

caf::actor spawn_supervisor(caf::actor_system& system, const supervisor_options& options);

}  // namespace troupe
