// How large this machine's caches are, as Linux says it.
#pragma once

#include <algorithm>
#include <cstddef>

namespace troupe {

struct cache_sizes {
  std::size_t l1_bytes = 32u << 10;  ///< data, of one core
  std::size_t l2_bytes = 1u << 20;   ///< of one core
  std::size_t l3_bytes = 32u << 20;  ///< shared

  [[nodiscard]] std::size_t largest_bytes() const noexcept { return std::max(l2_bytes, l3_bytes); }
};

/// Of the first CPU; the defaults above for what the system does not tell.
cache_sizes read_cache_sizes();

}  // namespace troupe
