#include "runtime/memory/block_table.hpp"

#include <utility>

namespace troupe {

block_table::block_table(block_table&& other) noexcept
    : block_tokens_(other.block_tokens_),
      position_count_(std::exchange(other.position_count_, 0)),
      blocks_(std::exchange(other.blocks_, {})) {}

block_table& block_table::operator=(block_table&& other) noexcept {
  TROUPE_CHECK(blocks_.empty());
  block_tokens_ = other.block_tokens_;
  position_count_ = std::exchange(other.position_count_, 0);
  blocks_ = std::exchange(other.blocks_, {});
  return *this;
}

void block_table::adopt(block_pool& pool, std::span<const block_index> prefix) {
  TROUPE_CHECK(blocks_.empty() && position_count_ == 0);
  for (const block_index block : prefix) pool.share(block);
  blocks_.assign(prefix.begin(), prefix.end());
  position_count_ = block_count() * block_tokens_;
}

bool block_table::must_copy_last(const block_pool& pool) const {
  return position_count_ % block_tokens_ != 0 && pool.reference_count(blocks_.back()) > 1;
}

std::uint32_t block_table::blocks_to_append(const block_pool& pool, std::uint32_t count) const {
  if (count == 0) return 0;
  return blocks_for(position_count_ + count, block_tokens_) - block_count() +
         (must_copy_last(pool) ? 1u : 0u);
}

result<std::optional<block_copy>> block_table::append(block_pool& pool, std::uint32_t count) {
  const std::uint32_t needed = blocks_to_append(pool, count);
  std::optional<block_copy> copy;
  if (needed != 0) {
    TROUPE_TRY(const auto taken, pool.allocate(needed));
    std::size_t next = 0;
    if (must_copy_last(pool)) {
      copy = block_copy{blocks_.back(), taken[next++]};
      pool.release(copy->from);
      blocks_.back() = copy->to;
    }
    blocks_.insert(blocks_.end(), taken.begin() + static_cast<std::ptrdiff_t>(next), taken.end());
  }
  position_count_ += count;
  return copy;
}

block_table block_table::fork(block_pool& pool) const {
  block_table forked(block_tokens_);
  for (const block_index block : blocks_) pool.share(block);
  forked.blocks_ = blocks_;
  forked.position_count_ = position_count_;
  return forked;
}

void block_table::replace(block_pool& pool, std::uint32_t place, block_index block) {
  TROUPE_CHECK(place < block_count());
  pool.share(block);
  pool.release(std::exchange(blocks_[place], block));
}

void block_table::release(block_pool& pool) {
  for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block) pool.release(*block);
  blocks_.clear();
  position_count_ = 0;
}

}  // namespace troupe
