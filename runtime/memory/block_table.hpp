// A sequence's block table: which blocks hold its positions, in order. A full block may be shared
// with any sequence; a partial last block only between the forks of one sequence, and the one that
// appends first gets a copy of it. The pool is handed in, always the same one. A table that dies
// with blocks ends the process: its owner releases it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/base/result.hpp"
#include "runtime/memory/block_copy.hpp"
#include "runtime/memory/block_pool.hpp"

namespace troupe {

class block_table {
 public:
  explicit block_table(std::uint32_t block_tokens) : block_tokens_(block_tokens) {}
  ~block_table() { TROUPE_CHECK(blocks_.empty()); }
  block_table(block_table&& other) noexcept;
  block_table& operator=(block_table&& other) noexcept;

  /// Positions that the blocks are held for; the last block may have room for more.
  [[nodiscard]] std::uint32_t position_count() const { return position_count_; }
  [[nodiscard]] std::span<const block_index> blocks() const { return blocks_; }
  [[nodiscard]] std::uint32_t block_count() const {
    return static_cast<std::uint32_t>(blocks_.size());
  }

  /// Begins an empty table with full blocks that hold a prefix's K and V.
  void adopt(block_pool& pool, std::span<const block_index> prefix);
  /// How many blocks append() would take, the copy of a shared partial block included.
  [[nodiscard]] std::uint32_t blocks_to_append(const block_pool& pool, std::uint32_t count) const;
  /// Room for `count` more positions, all or nothing. Where the last block is partial and shared it
  /// is replaced, and the copy must be done before the positions are written. Error: out_of_memory.
  result<std::optional<block_copy>> append(block_pool& pool, std::uint32_t count);
  /// A table of the same positions that shares every block, the partial last one included.
  [[nodiscard]] block_table fork(block_pool& pool) const;
  /// Puts another block with the same contents in a place.
  void replace(block_pool& pool, std::uint32_t place, block_index block);
  /// Gives every block back, the last one first, so that prefixes are evicted last.
  void release(block_pool& pool);

 private:
  [[nodiscard]] bool must_copy_last(const block_pool& pool) const;

  std::uint32_t block_tokens_;
  std::uint32_t position_count_ = 0;
  std::vector<block_index> blocks_;
};

/// Blocks that hold `positions` token positions.
constexpr std::uint32_t blocks_for(std::uint32_t positions, std::uint32_t block_tokens) {
  return positions / block_tokens + (positions % block_tokens != 0 ? 1u : 0u);
}

}  // namespace troupe
