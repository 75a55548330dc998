// How large this machine's caches are, as Linux says it.
#pragma once

#include <cstddef>

namespace troupe {

struct cache_sizes {
  std::size_t l1_bytes = 32u << 10;  ///< data, of one core
  std::size_t l2_bytes = 1u << 20;   ///< of one core
  std::size_t l3_bytes = 32u << 20;  ///< shared
};

/// Of the first CPU; the defaults above for what the system does not tell.
cache_sizes read_cache_sizes();

/// What a walk must exceed so that nothing of it is left in the last-level cache when it begins
/// again.
std::size_t cold_walk_bytes(const cache_sizes& sizes);

}  // namespace troupe
