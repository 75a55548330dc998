// The composer actor: searches for a better order of the asynchronous requests that wait, off every
// critical path. It keeps nothing but a counter; what it does not answer in time is not missed.
//   from a scheduler: compose_batches_for -> batches_composed, to the sender
#pragma once

#include <chrono>

#include <caf/actor.hpp>

#include "actors/base/spawn.hpp"
#include "kernels/base/thread_time.hpp"
#include "runtime/schedule/compose/compose.hpp"

namespace troupe {

struct composer_options {
  std::chrono::nanoseconds time_max{};  ///< of one search, processor time
  compose_options search;
  clock_source now = steady_now;
  clock_source cpu_now = thread_cpu_time;  ///< of the actor's thread
  int nice = 10;                           ///< of its thread
  placement where = placement::detached;
};

caf::actor spawn_composer(caf::actor_system& system, const composer_options& options);

}  // namespace troupe
