#include "runtime/memory/block_pool.hpp"

#include <fmt/format.h>

#include "config/limits.hpp"

namespace troupe {

block_pool::block_pool(std::uint32_t block_count) {
  TROUPE_CHECK_MESSAGE(block_count >= 1 && block_count <= limits::block_count_max,
                       fmt::format("{} blocks", block_count));
  blocks_.resize(block_count);
  for (std::uint32_t i = 0; i < block_count; ++i) push_back(free_, static_cast<block_index>(i));
}

result<block_index> block_pool::allocate() {
  if (available() == 0) {
    return error{errc::out_of_memory, fmt::format("all {} KV blocks are referenced", total())};
  }
  return take();
}

result<std::vector<block_index>> block_pool::allocate(std::uint32_t count) {
  if (available() < count) {
    return error{errc::out_of_memory, fmt::format("{} KV blocks asked for, {} of {} can be had",
                                                  count, available(), total())};
  }
  std::vector<block_index> taken;
  taken.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) taken.push_back(take());
  return taken;
}

block_index block_pool::take() {
  list& source = free_.count != 0 ? free_ : cached_;
  TROUPE_CHECK(source.head != none);
  const auto block = static_cast<block_index>(source.head);
  if (&source == &cached_) {
    if (evicted_) evicted_(block);
    at(block).indexed = false;
  }
  remove(source, block);
  at(block).references = 1;
  ++referenced_;
  check_sum();
  return block;
}

void block_pool::share(block_index block) {
  entry& shared = at(block);
  if (shared.references == 0) {
    TROUPE_CHECK_MESSAGE(shared.indexed, fmt::format("block {} is free", to_index(block)));
    remove(cached_, block);
    ++referenced_;
  }
  ++shared.references;
  check_sum();
}

void block_pool::release(block_index block) {
  entry& released = at(block);
  TROUPE_CHECK_MESSAGE(released.references != 0,
                       fmt::format("block {} has no reference", to_index(block)));
  if (--released.references == 0) {
    --referenced_;
    // A free block is reused soonest: its memory is the likeliest to be in a cache of the
    // processor.
    released.indexed ? push_back(cached_, block) : push_front(free_, block);
  }
  check_sum();
}

void block_pool::set_indexed(block_index block) {
  TROUPE_CHECK(at(block).references != 0 && !at(block).indexed);
  at(block).indexed = true;
}

void block_pool::clear_indexed(block_index block) {
  TROUPE_CHECK(at(block).indexed);
  at(block).indexed = false;
  if (at(block).references == 0) {
    remove(cached_, block);
    push_front(free_, block);
  }
  check_sum();
}

std::uint32_t block_pool::reference_count(block_index block) const {
  return at(block).references;
}

bool block_pool::is_indexed(block_index block) const {
  return at(block).indexed;
}

block_state block_pool::state_of(block_index block) const {
  const entry& asked = at(block);
  if (asked.references != 0) return block_state::referenced;
  return asked.indexed ? block_state::cached : block_state::free;
}

block_pool::entry& block_pool::at(block_index block) {
  TROUPE_CHECK_MESSAGE(to_index(block) < blocks_.size(), fmt::format("block {}", to_index(block)));
  return blocks_[to_index(block)];
}

const block_pool::entry& block_pool::at(block_index block) const {
  TROUPE_CHECK_MESSAGE(to_index(block) < blocks_.size(), fmt::format("block {}", to_index(block)));
  return blocks_[to_index(block)];
}

void block_pool::push_back(list& target, block_index block) {
  entry& added = at(block);
  added.previous = target.tail;
  added.next = none;
  const auto number = static_cast<std::int32_t>(block);
  (target.tail == none ? target.head : at(static_cast<block_index>(target.tail)).next) = number;
  target.tail = number;
  ++target.count;
}

void block_pool::push_front(list& target, block_index block) {
  entry& added = at(block);
  added.next = target.head;
  added.previous = none;
  const auto number = static_cast<std::int32_t>(block);
  (target.head == none ? target.tail : at(static_cast<block_index>(target.head)).previous) = number;
  target.head = number;
  ++target.count;
}

void block_pool::remove(list& target, block_index block) {
  entry& removed = at(block);
  (removed.previous == none ? target.head : at(static_cast<block_index>(removed.previous)).next) =
      removed.next;
  (removed.next == none ? target.tail : at(static_cast<block_index>(removed.next)).previous) =
      removed.previous;
  removed.previous = removed.next = none;
  --target.count;
}

void block_pool::check_sum() const {
  TROUPE_CHECK_MESSAGE(free_.count + cached_.count + referenced_ == total(),
                       fmt::format("{} free + {} cached + {} referenced != {}", free_.count,
                                   cached_.count, referenced_, total()));
}

std::uint32_t block_pool::check_list(const list& target, bool indexed) const {
  std::uint32_t count = 0;
  std::int32_t previous = none;
  for (std::int32_t i = target.head; i != none; i = at(static_cast<block_index>(i)).next) {
    const entry& member = at(static_cast<block_index>(i));
    TROUPE_CHECK(member.references == 0 && member.indexed == indexed);
    TROUPE_CHECK(member.previous == previous && count < target.count);
    previous = i;
    ++count;
  }
  TROUPE_CHECK(previous == target.tail && count == target.count);
  return count;
}

void block_pool::check_integrity() const {
  std::uint32_t referenced = 0;
  for (const entry& block : blocks_) referenced += block.references != 0 ? 1u : 0u;
  TROUPE_CHECK(referenced == referenced_);
  TROUPE_CHECK(check_list(free_, false) + check_list(cached_, true) + referenced == total());
}

}  // namespace troupe
