// The router: the home of request actors. Knows every unfinished request by both of its names,
// hands each to the scheduler, spawns its actor when it starts to run, and hands all of them to a
// new scheduler after a replica's restart. Keeps finished requests' transcripts for clients that
// resume.
#pragma once

#include <chrono>
#include <memory>

#include <caf/actor.hpp>

#include "actors/base/messages.hpp"
#include "actors/base/spawn.hpp"
#include "runtime/observe/metrics.hpp"
#include "runtime/text/tokenizer.hpp"

namespace troupe {

struct router_options {
  std::shared_ptr<const tokenizer> tokens;
  std::shared_ptr<metrics> measured;
  std::shared_ptr<tenancy> tenants;
  std::chrono::milliseconds resume_ms_max{30000};
  clock_source now = steady_now;
  placement where = placement::detached;
};

/// The gateway introduces itself with its first message; until then nothing can be running.
caf::actor spawn_router(caf::actor_system& system, const router_options& options);

}  // namespace troupe
