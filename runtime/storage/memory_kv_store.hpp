// The store in host memory: bounded in bytes, the least recently stored or found block leaves
// first. A plain object for one thread; storing and finding a block take O(1), and an exact
// comparison of chains where two prompts made their keys apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>

#include "runtime/storage/kv_store.hpp"

namespace troupe {

class memory_kv_store final : public kv_store {
 public:
  /// capacity_bytes: of blocks and their keys together; 0 stores nothing.
  explicit memory_kv_store(std::size_t capacity_bytes) : capacity_bytes_(capacity_bytes) {}

  void store(std::vector<stored_block> blocks) override;
  std::vector<offered_block> find(std::span<const block_key_ptr> keys) override;

  [[nodiscard]] std::size_t size() const { return by_hash_.size(); }
  [[nodiscard]] std::size_t size_bytes() const { return size_bytes_; }
  /// What a block takes of the capacity.
  [[nodiscard]] static std::size_t cost_of(const stored_block& block);

  /// Order, table and sum agree; O(size). Ends the process on a breach.
  void check_integrity() const;

 private:
  using recency = std::list<stored_block>;  ///< the least recent first
  using table = std::unordered_multimap<std::uint64_t, recency::iterator>;

  void store_one(stored_block block);
  void evict(recency::iterator oldest);
  /// The entry with an equal key. known_parent: the key of an entry that was found equal to the
  /// key's parent, so that one pointer proves the rest of the chain.
  recency::iterator find_one(const block_key_ptr& key, const block_key* known_parent);

  std::size_t capacity_bytes_;
  std::size_t size_bytes_ = 0;
  recency order_;
  table by_hash_;
};

}  // namespace troupe
