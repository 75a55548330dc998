// A tier below the device: full blocks' bytes by their key. A store may forget anything at any
// time, and never gives bytes of another key.
#pragma once

#include <span>
#include <vector>

#include "runtime/memory/block_key.hpp"

namespace troupe {

class kv_store {
 public:
  virtual ~kv_store() = default;

  /// Keeps what it has room for; a block that is there already becomes the most recent one.
  virtual void store(std::vector<stored_block> blocks) = 0;

  /// keys: of one prompt's blocks, in order, each the parent of the next. What is there of them, by
  /// place.
  virtual std::vector<offered_block> find(std::span<const block_key_ptr> keys) = 0;
};

}  // namespace troupe
