// What a full block's contents are known by outside the device's block pool: the chain of token
// blocks that leads to it, under a model fingerprint and a tenant salt. The hash finds, the chain
// proves: two keys are equal only when everything that decides the K and V is.
//
// A key refers to its parent's key, so that the blocks of one prompt share their chain. Keys are
// immutable and may be shared between threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/base/index_types.hpp"
#include "runtime/memory/token_view.hpp"

namespace troupe {

class block_key;
using block_key_ptr = std::shared_ptr<const block_key>;
/// K and V of one block in every layer, as the cache that wrote them lays them out.
using block_bytes = std::shared_ptr<const std::vector<std::byte>>;

struct stored_block {
  block_key_ptr key;
  block_bytes bytes;
};

/// A block that a lower tier has for block number `place` of a sequence.
struct offered_block {
  std::uint32_t place = 0;
  block_key_ptr key;
  block_bytes bytes;
};

/// Chain hashes: equal on every replica with the same model fingerprint.
std::uint64_t chain_root(std::uint64_t model_fingerprint, std::uint64_t tenant_salt);
std::uint64_t chain_next(std::uint64_t parent_hash, std::span<const token_id> tokens);

class block_key {
 public:
  /// parent: null for the first block of a prompt.
  static block_key_ptr make(std::uint64_t model_fingerprint, std::uint64_t tenant_salt,
                            block_key_ptr parent, std::span<const token_id> tokens);
  block_key(const block_key&) = delete;
  block_key& operator=(const block_key&) = delete;
  ~block_key();

  [[nodiscard]] std::uint64_t hash() const { return hash_; }
  [[nodiscard]] std::uint64_t model_fingerprint() const { return model_fingerprint_; }
  [[nodiscard]] std::uint64_t tenant_salt() const { return tenant_salt_; }
  [[nodiscard]] const block_key_ptr& parent() const { return parent_; }
  /// How many blocks come before it.
  [[nodiscard]] std::uint32_t place() const { return place_; }
  [[nodiscard]] std::span<const token_id> tokens() const { return tokens_; }

  /// Exact; O(chain) at worst, and ends where both chains meet in the same object.
  friend bool operator==(const block_key& left, const block_key& right);

 private:
  block_key() = default;
  [[nodiscard]] bool has_same_link(const block_key& other) const;

  std::uint64_t hash_ = 0, model_fingerprint_ = 0, tenant_salt_ = 0;
  std::uint32_t place_ = 0;
  mutable block_key_ptr parent_;  ///< taken out only by the destructor of its last child
  std::vector<token_id> tokens_;
};

/// The keys of a sequence's full blocks, in order, as far as a prefix hit may reach: never the
/// block that holds the last token.
std::vector<block_key_ptr> block_keys_of(std::uint64_t model_fingerprint, std::uint64_t tenant_salt,
                                         const token_view& tokens, std::uint32_t block_tokens);

}  // namespace troupe
