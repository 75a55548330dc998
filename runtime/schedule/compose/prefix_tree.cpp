#include "runtime/schedule/compose/prefix_tree.hpp"

#include <algorithm>
#include <numeric>

#include "runtime/memory/block_key.hpp"

namespace troupe {
namespace {

using chain = std::vector<std::uint64_t>;

/// Hashes of the blocks that a prefix hit may reach: never the one that holds the last token.
chain chain_of(const tree_prompt& prompt, std::uint64_t model_fingerprint,
               std::uint32_t block_tokens) {
  chain hashes(prompt.tokens.empty() ? 0 : (prompt.tokens.size() - 1) / block_tokens);
  std::uint64_t hash = chain_root(model_fingerprint, prompt.tenant_salt);
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    hash = chain_next(hash, prompt.tokens.subspan(i * block_tokens, block_tokens));
    hashes[i] = hash;
  }
  return hashes;
}

/// How many leading blocks two chains share: a hash covers all blocks before it.
std::uint32_t shared_blocks(const chain& left, const chain& right) {
  std::size_t same = 0, different = std::min(left.size(), right.size()) + 1;
  while (different - same > 1) {
    const std::size_t middle = same + (different - same) / 2;
    (left[middle - 1] == right[middle - 1] ? same : different) = middle;
  }
  return static_cast<std::uint32_t>(same);
}

/// Puts chains that begin alike next to each other.
bool is_before(const chain& left, const chain& right) {
  const std::uint32_t same = shared_blocks(left, right);
  if (same == left.size() || same == right.size()) return left.size() < right.size();
  return left[same] < right[same];
}

/// Makes nodes of ranges of sorted chains.
class node_builder {
 public:
  /// shared[i]: blocks that the chains i and i + 1 share.
  node_builder(std::span<const std::uint32_t> shared, std::size_t prompts)
      : leaf(prompts, prefix_node::none), shared_(shared) {}

  /// The chains begin .. end - 1, which share `depth` blocks, all in nodes down to `parent`. Each
  /// level has fewer chains than the one above, so that the depth is bounded by their number.
  void build(std::size_t begin, std::size_t end, std::uint32_t depth, std::uint32_t parent) {
    if (end - begin < 2) {
      leaf[begin] = parent;
      return;
    }
    const auto inside = shared_.subspan(begin, end - begin - 1);
    const std::uint32_t common = *std::ranges::min_element(inside);
    if (common > depth) {
      nodes.push_back({parent, depth, common});
      parent = static_cast<std::uint32_t>(nodes.size() - 1);
    }
    std::size_t first = begin;
    for (std::size_t i = begin; i < end; ++i) {
      if (i + 1 != end && shared_[i] != common) continue;
      build(first, i + 1, common, parent);
      first = i + 1;
    }
  }

  std::vector<prefix_node> nodes;
  std::vector<std::uint32_t> leaf;  ///< the deepest node of each sorted chain

 private:
  std::span<const std::uint32_t> shared_;
};

}  // namespace

prefix_tree::prefix_tree(std::span<const tree_prompt> prompts, std::uint64_t model_fingerprint,
                         std::uint32_t block_tokens)
    : path_first_(prompts.size() + 1, 0) {
  if (prompts.empty()) return;
  std::vector<chain> chains;
  for (const tree_prompt& each : prompts)
    chains.push_back(chain_of(each, model_fingerprint, block_tokens));
  std::vector<std::size_t> sorted(prompts.size());
  std::iota(sorted.begin(), sorted.end(), std::size_t{0});
  std::ranges::stable_sort(sorted, [&](std::size_t left, std::size_t right) {
    return is_before(chains[left], chains[right]);
  });
  std::vector<std::uint32_t> shared;
  for (std::size_t i = 0; i + 1 < sorted.size(); ++i)
    shared.push_back(shared_blocks(chains[sorted[i]], chains[sorted[i + 1]]));
  node_builder builder(shared, prompts.size());
  builder.build(0, prompts.size(), 0, prefix_node::none);
  nodes_ = std::move(builder.nodes);

  std::vector<std::uint32_t> leaf_of(prompts.size());
  for (std::size_t i = 0; i < sorted.size(); ++i) leaf_of[sorted[i]] = builder.leaf[i];
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const std::size_t first = paths_.size();
    for (std::uint32_t node = leaf_of[i]; node != prefix_node::none; node = nodes_[node].parent)
      paths_.push_back(node);
    std::reverse(paths_.begin() + static_cast<std::ptrdiff_t>(first), paths_.end());
    path_first_[i + 1] = static_cast<std::uint32_t>(paths_.size());
  }
}

}  // namespace troupe
