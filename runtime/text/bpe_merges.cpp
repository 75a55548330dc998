// Neighbouring tokens form a linked list in an array; every pair that can merge waits in a heap. A
// pair whose tokens have changed by the time it surfaces is stale and skipped. Each merge adds at
// most two pairs, so n tokens cost O(n log n).
#include "runtime/text/bpe_merges.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include "kernels/base/check.hpp"

namespace troupe {
namespace {

constexpr std::uint32_t no_link = std::numeric_limits<std::uint32_t>::max();
constexpr token_id merged_away{-1};

std::uint64_t pair_key(token_id left, token_id right) noexcept {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

struct links {
  std::uint32_t previous, next;
};

struct candidate {
  std::uint64_t order;  // rank, then position
  token_id left, right, joined;

  [[nodiscard]] std::uint32_t position() const { return static_cast<std::uint32_t>(order); }
  // The standard heap has its largest element on top.
  bool operator<(const candidate& other) const { return order > other.order; }
};

}  // namespace

bpe_merges::bpe_merges(std::size_t expected_count) {
  grow(std::bit_ceil(std::max<std::size_t>(16, expected_count * 2)));
}

std::size_t bpe_merges::slot_of(std::uint64_t key) const noexcept {
  // Fibonacci hashing (Knuth, The Art of Computer Programming 6.4), after folding the halves.
  const std::uint64_t mixed = (key ^ key >> 29) * 0x9E3779B97F4A7C15U;
  const std::size_t mask = slots_.size() - 1;
  std::size_t i = static_cast<std::size_t>(mixed >> 20) & mask;
  while (slots_[i].key != empty_key && slots_[i].key != key) i = (i + 1) & mask;
  return i;
}

void bpe_merges::grow(std::size_t slot_count) {
  std::vector<slot> old = std::move(slots_);
  slots_.assign(slot_count, {});
  for (const slot& entry : old) {
    if (entry.key != empty_key) slots_[slot_of(entry.key)] = entry;
  }
}

bool bpe_merges::add(token_id left, token_id right, merge joined) {
  if ((count_ + 1) * 2 > slots_.size()) grow(std::max<std::size_t>(16, slots_.size() * 2));
  slot& entry = slots_[slot_of(pair_key(left, right))];
  if (entry.key != empty_key) return false;
  entry = {pair_key(left, right), joined};
  ++count_;
  return true;
}

const bpe_merges::merge* bpe_merges::find(token_id left, token_id right) const noexcept {
  if (slots_.empty()) return nullptr;
  const slot& entry = slots_[slot_of(pair_key(left, right))];
  return entry.key == empty_key ? nullptr : &entry.value;
}

void bpe_merges::apply(std::vector<token_id>& tokens) const {
  if (tokens.size() < 2 || count_ == 0) return;
  TROUPE_CHECK(tokens.size() < no_link);
  const auto count = static_cast<std::uint32_t>(tokens.size());

  std::vector<candidate> heap;
  const auto candidate_at = [&](std::uint32_t left, std::uint32_t right) -> bool {
    const merge* found = find(tokens[left], tokens[right]);
    if (found == nullptr) return false;
    heap.push_back(
        {std::uint64_t{found->rank} << 32 | left, tokens[left], tokens[right], found->joined});
    return true;
  };
  for (std::uint32_t i = 0; i + 1 < count; ++i) candidate_at(i, i + 1);
  if (heap.empty()) return;
  std::make_heap(heap.begin(), heap.end());

  std::vector<links> list(count);
  for (std::uint32_t i = 0; i < count; ++i) list[i] = {i - 1, i + 1 == count ? no_link : i + 1};
  list[0].previous = no_link;

  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const candidate best = heap.back();
    heap.pop_back();
    const std::uint32_t at = best.position();
    const std::uint32_t right = list[at].next;
    if (right == no_link || tokens[at] != best.left || tokens[right] != best.right) continue;

    tokens[at] = best.joined;
    tokens[right] = merged_away;
    const std::uint32_t after = list[right].next;
    list[at].next = after;
    list[right].next = no_link;
    if (after != no_link) {
      list[after].previous = at;
      if (candidate_at(at, after)) std::push_heap(heap.begin(), heap.end());
    }
    const std::uint32_t before = list[at].previous;
    if (before != no_link && candidate_at(before, at)) std::push_heap(heap.begin(), heap.end());
  }
  std::erase(tokens, merged_away);
}

}  // namespace troupe
