// Which prompts begin alike, by blocks: the tree of their shared prefixes. A node is a run of
// blocks that the same two or more prompts share; what only one prompt has is in no node. Prefixes
// are told apart by the chain hashes of the prefix cache (runtime/memory/block_key.hpp): a
// collision makes a worse plan, never a wrong result.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/schedule/compose/async_batch.hpp"

namespace troupe {

struct prefix_node {
  static constexpr std::uint32_t none = UINT32_MAX;
  std::uint32_t parent = none;                   ///< of a smaller index
  std::uint32_t block_first = 0, block_end = 0;  ///< places in its prompts

  [[nodiscard]] std::uint32_t blocks() const { return block_end - block_first; }
};

struct tree_prompt {
  std::span<const token_id> tokens;
  std::uint64_t tenant_salt = 0;
};

class prefix_tree {
 public:
  prefix_tree() = default;
  prefix_tree(std::span<const tree_prompt> prompts, std::uint64_t model_fingerprint,
              std::uint32_t block_tokens);

  [[nodiscard]] std::span<const prefix_node> nodes() const { return nodes_; }
  /// The nodes that a prompt begins with, the first blocks first.
  [[nodiscard]] std::span<const std::uint32_t> path_of(std::size_t prompt) const {
    return std::span(paths_).subspan(path_first_[prompt],
                                     path_first_[prompt + 1] - path_first_[prompt]);
  }

 private:
  std::vector<prefix_node> nodes_;
  std::vector<std::uint32_t> paths_, path_first_;
};

}  // namespace troupe
