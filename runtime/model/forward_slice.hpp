// What one sequence brings to a step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/base/index_types.hpp"

namespace troupe {

/// Consecutive tokens of one sequence.
struct forward_slice {
  enum class logits : std::uint8_t { none, last, all };

  std::span<const token_id> tokens;          ///< at least one, each below vocab_size
  std::size_t position_first = 0;            ///< of tokens[0]; what comes before is in the cache
  std::span<const block_index> block_table;  ///< covers position_first + tokens.size() positions
  logits want = logits::last;
};

}  // namespace troupe
