// Strong integer types that kernels and runtime share. Convert with static_cast or to_index().
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe {

/// An id of the model's vocabulary. Negative values never reach a kernel.
enum class token_id : std::int32_t {};

/// A physical block of the paged KV cache, 0 .. block_count - 1.
enum class block_index : std::int32_t {};

constexpr std::size_t to_index(token_id id) noexcept {
  return static_cast<std::size_t>(id);
}
constexpr std::size_t to_index(block_index block) noexcept {
  return static_cast<std::size_t>(block);
}

}  // namespace troupe
