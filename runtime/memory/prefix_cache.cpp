#include "runtime/memory/prefix_cache.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "config/limits.hpp"

namespace troupe {

prefix_cache::prefix_cache(block_pool& pool, std::uint32_t block_tokens,
                           std::uint64_t model_fingerprint)
    : pool_(pool),
      block_tokens_(block_tokens),
      model_fingerprint_(model_fingerprint),
      entries_(pool.total()),
      tokens_(std::size_t{pool.total()} * block_tokens),
      buckets_(std::bit_ceil(std::size_t{pool.total()}), none) {
  TROUPE_CHECK(block_tokens >= 1 && block_tokens <= limits::block_tokens_max);
  pool_.on_evicted([this](block_index block) { forget(block); });
}

void prefix_cache::on_evicted(std::function<void(block_index, block_key_ptr)> handler) {
  TROUPE_CHECK(size_ == 0 && handler);
  evicted_ = std::move(handler);
  keys_.resize(entries_.size());
}

std::vector<block_index> prefix_cache::lookup(std::uint64_t tenant_salt, const token_view& tokens,
                                              std::uint32_t positions_max) const {
  std::vector<block_index> chain;
  if (tokens.size() == 0) return chain;
  const std::uint32_t blocks_max = std::min(tokens.size() - 1, positions_max) / block_tokens_;
  std::array<token_id, limits::block_tokens_max> scratch;
  std::int32_t parent = none;
  for (std::uint32_t i = 0; i < blocks_max; ++i) {
    const auto block_tokens = tokens.contiguous(i * block_tokens_, block_tokens_, scratch);
    parent = find(chain_hash(tenant_salt, parent, block_tokens), tenant_salt, parent, block_tokens);
    if (parent == none) break;
    chain.push_back(static_cast<block_index>(parent));
  }
  return chain;
}

block_index prefix_cache::insert(std::uint64_t tenant_salt, std::optional<block_index> parent,
                                 std::span<const token_id> tokens, block_index block) {
  TROUPE_CHECK(tokens.size() == block_tokens_);
  TROUPE_CHECK(pool_.state_of(block) == block_state::referenced);
  if (parent) {
    TROUPE_CHECK(contains(*parent) && pool_.state_of(*parent) == block_state::referenced);
  }
  const std::int32_t parent_number = parent ? static_cast<std::int32_t>(*parent) : none;
  const std::uint64_t hash = chain_hash(tenant_salt, parent_number, tokens);
  const std::int32_t found = find(hash, tenant_salt, parent_number, tokens);
  if (found != none) return static_cast<block_index>(found);

  TROUPE_CHECK(!contains(block));
  std::int32_t& head = buckets_[bucket_of(hash)];
  entries_[to_index(block)] = entry{hash, tenant_salt, head, parent_number, 0, true};
  head = static_cast<std::int32_t>(block);
  if (parent) ++entries_[to_index(*parent)].children;
  std::copy(tokens.begin(), tokens.end(),
            tokens_.begin() + static_cast<std::ptrdiff_t>(to_index(block) * block_tokens_));
  if (evicted_) keys_[to_index(block)] = key_for(tenant_salt, parent_number, tokens);
  pool_.set_indexed(block);
  ++size_;
  return block;
}

void prefix_cache::forget(block_index block) {
  entry& evicted = entries_[to_index(block)];
  TROUPE_CHECK(evicted.present && evicted.children == 0);
  std::int32_t* link = &buckets_[bucket_of(evicted.hash)];
  while (*link != static_cast<std::int32_t>(block)) {
    TROUPE_CHECK(*link != none);
    link = &entries_[static_cast<std::size_t>(*link)].next;
  }
  *link = evicted.next;
  if (evicted.parent != none) --entries_[static_cast<std::size_t>(evicted.parent)].children;
  evicted = entry{};
  --size_;
  if (evicted_) evicted_(block, std::move(keys_[to_index(block)]));
}

std::uint64_t prefix_cache::chain_hash(std::uint64_t tenant_salt, std::int32_t parent,
                                       std::span<const token_id> tokens) const {
  return chain_next(parent == none ? chain_root(model_fingerprint_, tenant_salt)
                                   : entries_[static_cast<std::size_t>(parent)].hash,
                    tokens);
}

block_key_ptr prefix_cache::key_for(std::uint64_t tenant_salt, std::int32_t parent,
                                    std::span<const token_id> tokens) const {
  return block_key::make(model_fingerprint_, tenant_salt,
                         parent == none ? nullptr : keys_[static_cast<std::size_t>(parent)],
                         tokens);
}

std::int32_t prefix_cache::find(std::uint64_t hash, std::uint64_t tenant_salt, std::int32_t parent,
                                std::span<const token_id> tokens) const {
  std::int32_t i = buckets_[bucket_of(hash)];
  for (; i != none; i = entries_[static_cast<std::size_t>(i)].next) {
    const entry& candidate = entries_[static_cast<std::size_t>(i)];
    if (candidate.hash == hash && candidate.parent == parent &&
        candidate.tenant_salt == tenant_salt &&
        std::ranges::equal(tokens_of(static_cast<block_index>(i)), tokens)) {
      break;
    }
  }
  return i;
}

std::uint64_t prefix_cache::hash_of(block_index block) const {
  TROUPE_CHECK(contains(block));
  return at(block).hash;
}

std::span<const token_id> prefix_cache::tokens_of(block_index block) const {
  TROUPE_CHECK(contains(block));
  return std::span(tokens_).subspan(to_index(block) * block_tokens_, block_tokens_);
}

const prefix_cache::entry& prefix_cache::at(block_index block) const {
  TROUPE_CHECK(to_index(block) < entries_.size());
  return entries_[to_index(block)];
}

void prefix_cache::check_integrity() const {
  std::vector<std::uint32_t> children(entries_.size(), 0);
  std::uint32_t present = 0;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const entry& each = entries_[i];
    const auto block = static_cast<block_index>(i);
    TROUPE_CHECK(each.present == pool_.is_indexed(block));
    if (!each.present) continue;
    ++present;
    TROUPE_CHECK(!evicted_ || keys_[i]->hash() == each.hash);
    TROUPE_CHECK(each.hash == chain_hash(each.tenant_salt, each.parent, tokens_of(block)));
    TROUPE_CHECK(find(each.hash, each.tenant_salt, each.parent, tokens_of(block)) ==
                 static_cast<std::int32_t>(i));
    if (each.parent == none) continue;
    const auto parent = static_cast<block_index>(each.parent);
    TROUPE_CHECK(contains(parent) && at(parent).tenant_salt == each.tenant_salt);
    TROUPE_CHECK(pool_.reference_count(parent) >= pool_.reference_count(block));
    ++children[to_index(parent)];
  }
  TROUPE_CHECK(present == size_);
  for (std::size_t i = 0; i < entries_.size(); ++i)
    TROUPE_CHECK(children[i] == entries_[i].children);
}

}  // namespace troupe
