// The tree of shared prefixes against a naive count over all pairs of prompts.
#include "runtime/schedule/compose/prefix_tree.hpp"

#include <algorithm>

#include <catch2/catch.hpp>

#include "runtime/schedule/compose/search_random.hpp"

using namespace troupe;

namespace {

constexpr std::uint32_t block_tokens = 4;

using prompt = std::vector<token_id>;

/// Few different tokens, so that beginnings are shared.
std::vector<prompt> random_prompts(search_random& random) {
  std::vector<prompt> prompts;
  for (std::uint32_t i = 1 + random.below(30); i != 0; --i) {
    prompt made;
    if (!prompts.empty() && random.below(3) != 0) {
      made = prompts[random.below(static_cast<std::uint32_t>(prompts.size()))];
      made.resize(random.below(static_cast<std::uint32_t>(made.size() + 1)));
    }
    for (std::uint32_t left = 1 + random.below(20); left != 0; --left)
      made.push_back(static_cast<token_id>(random.below(3)));
    prompts.push_back(made);
  }
  return prompts;
}

std::uint32_t hit_blocks(const prompt& of) {
  return static_cast<std::uint32_t>((of.size() - 1) / block_tokens);
}

std::uint32_t shared_blocks(const tree_prompt& left, const tree_prompt& right) {
  if (left.tenant_salt != right.tenant_salt) return 0;
  const auto apart = std::ranges::mismatch(left.tokens, right.tokens).in1 - left.tokens.begin();
  const std::size_t most = std::min(left.tokens.size(), right.tokens.size()) - 1;
  return static_cast<std::uint32_t>(std::min<std::size_t>(apart, most) / block_tokens);
}

}  // namespace

TEST_CASE("nodes are the runs of blocks that the same prompts share", "[compose]") {
  const std::uint64_t seed = GENERATE(range(1, 60));
  CAPTURE(seed);
  search_random random(seed, search_random::stream::search);
  const std::vector<prompt> prompts = random_prompts(random);
  std::vector<tree_prompt> given;
  for (const prompt& each : prompts) given.push_back({each, random.below(2)});
  const prefix_tree tree(given, 99, block_tokens);

  for (std::size_t i = 0; i < given.size(); ++i) {
    std::uint32_t longest = 0;
    for (std::size_t k = 0; k < given.size(); ++k) {
      if (k == i) continue;
      const std::uint32_t shared = shared_blocks(given[i], given[k]);
      longest = std::max(longest, shared);
      // The nodes that both paths have cover just what both prompts share.
      const auto left = tree.path_of(i), right = tree.path_of(k);
      std::uint32_t in_nodes = 0;
      for (std::size_t level = 0; level < std::min(left.size(), right.size()); ++level)
        if (left[level] == right[level]) in_nodes = tree.nodes()[left[level]].block_end;
      REQUIRE(in_nodes == shared);
    }
    std::uint32_t end = 0;
    for (const std::uint32_t node : tree.path_of(i)) {
      REQUIRE(tree.nodes()[node].block_first == end);
      REQUIRE(tree.nodes()[node].blocks() != 0);
      end = tree.nodes()[node].block_end;
    }
    REQUIRE(end == longest);
    REQUIRE(end <= hit_blocks(prompts[i]));
  }
  for (std::size_t i = 0; i < tree.nodes().size(); ++i) {
    const std::uint32_t parent = tree.nodes()[i].parent;
    REQUIRE((parent == prefix_node::none || parent < i));
  }
}
