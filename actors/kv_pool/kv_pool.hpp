// The kv_pool: owns the tier below the device. It outlives replicas, so that a restarted one finds
// what the last one left (keys carry the model fingerprint, numerics included).
//   from a scheduler: store_blocks -> blocks_stored, find_blocks -> blocks_found (urgent), to the
//   sender
// Never asked inside a step; who asks has a deadline and can recompute.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include <caf/actor.hpp>

#include "actors/base/spawn.hpp"
#include "runtime/storage/kv_store.hpp"

namespace troupe {

struct kv_pool_options {
  /// Called once, by the actor.
  std::function<std::unique_ptr<kv_store>()> make_store;
  std::size_t block_bytes = 0;  ///< of this model's blocks; another size is never handed out
  placement where = placement::pooled;
};

caf::actor spawn_kv_pool(caf::actor_system& system, const kv_pool_options& options);

}  // namespace troupe
