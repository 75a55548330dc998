// The size of the large pages that weights and KV caches ask the system for.
#pragma once

#include <cstddef>

namespace troupe {

inline constexpr std::size_t large_page_bytes = std::size_t{2} << 20;

}  // namespace troupe
