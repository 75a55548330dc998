// The heap against the definition: again and again, merge the pair of lowest rank, the leftmost
// first.
#include "runtime/text/bpe_merges.hpp"

#include <optional>
#include <random>

#include <catch2/catch.hpp>

namespace troupe {
namespace {

std::vector<token_id> naive(const bpe_merges& merges, std::vector<token_id> tokens) {
  while (true) {
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
      const auto* found = merges.find(tokens[i], tokens[i + 1]);
      if (found && (!best || found->rank < merges.find(tokens[*best], tokens[*best + 1])->rank))
        best = i;
    }
    if (!best) return tokens;
    tokens[*best] = merges.find(tokens[*best], tokens[*best + 1])->joined;
    tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(*best) + 1);
  }
}

}  // namespace

TEST_CASE("merging equals its definition on random merges and texts") {
  const unsigned seed = 5;
  INFO("seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 3000; ++round) {
    bpe_merges merges(0);
    int next = 4;
    const int merge_count = static_cast<int>(random() % 20);
    for (int i = 0; i < merge_count; ++i) {
      const auto rank = static_cast<std::uint32_t>(round % 2 == 0 ? i : i / 3);  // odd rounds: ties
      const auto pick = [&] {
        return static_cast<token_id>(random() % static_cast<unsigned>(next));
      };
      const token_id left = pick(), right = pick();
      merges.add(left, right, {rank, static_cast<token_id>(next)});
      ++next;
    }
    std::vector<token_id> tokens;
    for (unsigned i = random() % 40; i > 0; --i)
      tokens.push_back(static_cast<token_id>(random() % 4));
    const auto expected = naive(merges, tokens);
    merges.apply(tokens);
    REQUIRE(tokens == expected);
  }
}

TEST_CASE("the first rank of a pair stays") {
  bpe_merges merges(1);
  CHECK(merges.add(token_id{0}, token_id{1}, {0, token_id{2}}));
  CHECK_FALSE(merges.add(token_id{0}, token_id{1}, {1, token_id{3}}));
  CHECK(merges.find(token_id{0}, token_id{1})->joined == token_id{2});
  CHECK(merges.find(token_id{1}, token_id{0}) == nullptr);
  CHECK(bpe_merges{}.find(token_id{0}, token_id{0}) == nullptr);
}

}  // namespace troupe
