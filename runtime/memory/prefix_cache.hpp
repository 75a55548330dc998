// The prefix index: which block holds the K and V of which prefix. Only full blocks are in it, and
// only after the step that wrote them has completed. A block is found by a hash chained over (model
// fingerprint, tenant salt, parent's hash, its tokens); what is found is then compared exactly
// (same parent block, same salt, same tokens), so that a collision costs time and never serves
// wrong KV.
//
// A parent outlives its children: whoever holds a block holds its parent too and releases it later,
// so that the pool's LRU order evicts leaves first. That is why a parent may be named by its block
// index.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "kernels/base/index_types.hpp"
#include "runtime/memory/block_key.hpp"
#include "runtime/memory/block_pool.hpp"
#include "runtime/memory/token_view.hpp"

namespace troupe {

class prefix_cache {
 public:
  /// Takes over the pool's eviction handler. The pool outlives this object.
  prefix_cache(block_pool& pool, std::uint32_t block_tokens, std::uint64_t model_fingerprint);
  prefix_cache(const prefix_cache&) = delete;
  prefix_cache& operator=(const prefix_cache&) = delete;

  /// Called with each block that is evicted and its key, before its new owner writes it. Set it
  /// before anything is indexed: without it no keys are kept.
  void on_evicted(std::function<void(block_index, block_key_ptr)> handler);

  /// The longest chain of indexed blocks that begins these tokens, at most `positions_max`
  /// positions of it, and never the last token: its row must be computed, because the next token is
  /// drawn from it. The caller shares the blocks before anything else is allocated.
  [[nodiscard]] std::vector<block_index> lookup(std::uint64_t tenant_salt, const token_view& tokens,
                                                std::uint32_t positions_max) const;

  /// Enters a referenced block whose K and V are computed. `parent` is the indexed block before it,
  /// which the caller refers to; none for the first. Returns the block that holds these contents in
  /// the index: `block`, or the one that was there before, which the caller then uses in its place.
  block_index insert(std::uint64_t tenant_salt, std::optional<block_index> parent,
                     std::span<const token_id> tokens, block_index block);

  [[nodiscard]] bool contains(block_index block) const { return at(block).present; }
  /// Chain hash of an indexed block: equal on every replica with the same model fingerprint.
  [[nodiscard]] std::uint64_t hash_of(block_index block) const;
  [[nodiscard]] std::span<const token_id> tokens_of(block_index block) const;
  [[nodiscard]] std::uint32_t size() const { return size_; }

  /// Buckets, parents and counts agree, and with the pool; O(total). Ends the process on a breach.
  void check_integrity() const;

 private:
  static constexpr std::int32_t none = -1;
  struct entry {
    std::uint64_t hash = 0;
    std::uint64_t tenant_salt = 0;
    std::int32_t next = none;    ///< in its bucket
    std::int32_t parent = none;  ///< none for the first block of a prefix
    std::uint32_t children = 0;
    bool present = false;
  };

  [[nodiscard]] const entry& at(block_index block) const;
  [[nodiscard]] std::uint64_t chain_hash(std::uint64_t tenant_salt, std::int32_t parent,
                                         std::span<const token_id> tokens) const;
  [[nodiscard]] block_key_ptr key_for(std::uint64_t tenant_salt, std::int32_t parent,
                                      std::span<const token_id> tokens) const;
  [[nodiscard]] std::int32_t find(std::uint64_t hash, std::uint64_t tenant_salt,
                                  std::int32_t parent, std::span<const token_id> tokens) const;
  [[nodiscard]] std::size_t bucket_of(std::uint64_t hash) const {
    return hash & (buckets_.size() - 1);
  }
  void forget(block_index block);

  block_pool& pool_;
  std::uint32_t block_tokens_;
  std::uint64_t model_fingerprint_;
  std::vector<entry> entries_;       ///< one for each block of the pool
  std::vector<token_id> tokens_;     ///< block_tokens_ for each block
  std::vector<block_key_ptr> keys_;  ///< of indexed blocks; empty without a handler
  std::function<void(block_index, block_key_ptr)> evicted_;
  std::vector<std::int32_t> buckets_;  ///< first block of each chain; a power of two >= blocks
  std::uint32_t size_ = 0;
};

}  // namespace troupe
