#include "runtime/storage/memory_kv_store.hpp"

#include <algorithm>
#include <ranges>
#include <utility>

#include "kernels/base/check.hpp"

namespace troupe {
namespace {

bool is_equal(const block_key& stored, const block_key& asked, const block_key* known_parent) {
  if (stored.parent() != nullptr && stored.parent().get() == known_parent) {
    return stored.hash() == asked.hash() && std::ranges::equal(stored.tokens(), asked.tokens());
  }
  return stored == asked;
}

}  // namespace

// A key is two allocations, a list node and a table node; what malloc adds to them is estimated.
std::size_t memory_kv_store::cost_of(const stored_block& block) {
  constexpr std::size_t bookkeeping_bytes = 256;
  return block.bytes->size() + block.key->tokens().size() * sizeof(token_id) + bookkeeping_bytes;
}

void memory_kv_store::store(std::vector<stored_block> blocks) {
  for (stored_block& block : blocks) store_one(std::move(block));
}

void memory_kv_store::store_one(stored_block block) {
  TROUPE_CHECK(block.key && block.bytes);
  if (const auto known = find_one(block.key, nullptr); known != order_.end()) {
    order_.splice(order_.end(), order_, known);
    return;
  }
  const std::size_t cost = cost_of(block);
  if (cost > capacity_bytes_) return;
  while (size_bytes_ + cost > capacity_bytes_) evict(order_.begin());
  const std::uint64_t hash = block.key->hash();
  order_.push_back(std::move(block));
  by_hash_.emplace(hash, std::prev(order_.end()));
  size_bytes_ += cost;
}

void memory_kv_store::evict(recency::iterator oldest) {
  TROUPE_CHECK(oldest != order_.end());
  const auto [first, last] = by_hash_.equal_range(oldest->key->hash());
  const auto place =
      std::find_if(first, last, [&](const auto& each) { return each.second == oldest; });
  TROUPE_CHECK(place != last);
  by_hash_.erase(place);
  size_bytes_ -= cost_of(*oldest);
  order_.erase(oldest);
}

memory_kv_store::recency::iterator memory_kv_store::find_one(const block_key_ptr& key,
                                                             const block_key* known_parent) {
  const auto [first, last] = by_hash_.equal_range(key->hash());
  const auto place = std::find_if(first, last, [&](const auto& each) {
    return is_equal(*each.second->key, *key, known_parent);
  });
  return place == last ? order_.end() : place->second;
}

std::vector<offered_block> memory_kv_store::find(std::span<const block_key_ptr> keys) {
  std::vector<offered_block> found;
  std::vector<recency::iterator> entries;
  block_key_ptr known_parent;  // as stored before its entry took the asked key
  for (std::uint32_t i = 0; i < keys.size(); ++i) {
    TROUPE_CHECK(keys[i]->parent() == (i == 0 ? nullptr : keys[i - 1]));
    const auto entry = find_one(keys[i], known_parent.get());
    if (entry == order_.end()) {
      known_parent = nullptr;
      continue;
    }
    // With all entries of a prompt on one chain, the next search for it compares pointers only.
    known_parent = std::exchange(entry->key, keys[i]);
    found.push_back({i, keys[i], entry->bytes});
    entries.push_back(entry);
  }
  // A prompt's later blocks are of no use without the earlier ones: those leave last.
  for (const auto entry : std::views::reverse(entries)) order_.splice(order_.end(), order_, entry);
  return found;
}

void memory_kv_store::check_integrity() const {
  std::size_t bytes = 0;
  for (auto i = order_.begin(); i != order_.end(); ++i) {
    bytes += cost_of(*i);
    const auto [first, last] = by_hash_.equal_range(i->key->hash());
    TROUPE_CHECK(std::count_if(first, last, [&](const auto& each) {
                   return recency::const_iterator(each.second) == i;
                 }) == 1);
  }
  TROUPE_CHECK(bytes == size_bytes_ && by_hash_.size() == order_.size());
  TROUPE_CHECK(size_bytes_ <= capacity_bytes_);
}

}  // namespace troupe
