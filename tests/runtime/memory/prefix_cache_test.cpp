// Proves that a lookup returns the longest indexed chain of exactly the asked tokens and tenant,
// never another's, and that leaves are evicted before their parents: random sequences over a tiny
// vocabulary against a map of whole prefixes.
#include "runtime/memory/prefix_cache.hpp"

#include <map>
#include <random>

#include <catch2/catch.hpp>

#include "runtime/memory/block_table.hpp"

using namespace troupe;

namespace {

constexpr std::uint32_t block_tokens = 4;

std::vector<token_id> ids(std::initializer_list<int> values) {
  std::vector<token_id> tokens;
  for (const int value : values) tokens.push_back(token_id{value});
  return tokens;
}

// What a sequence does with its table: takes its prefix, computes the rest, enters every full
// block.
std::optional<block_table> compute(block_pool& pool, prefix_cache& cache, std::uint64_t salt,
                                   const std::vector<token_id>& tokens) {
  block_table table(block_tokens);
  const auto hits = cache.lookup(salt, {tokens, {}}, 1u << 20);
  table.adopt(pool, hits);
  if (!table.append(pool, static_cast<std::uint32_t>(tokens.size()) - table.position_count())) {
    table.release(pool);
    return std::nullopt;
  }
  for (auto i = static_cast<std::uint32_t>(hits.size()); (i + 1) * block_tokens <= tokens.size();
       ++i) {
    const auto parent = i == 0 ? std::nullopt : std::optional(table.blocks()[i - 1]);
    const auto own = std::span(tokens).subspan(i * block_tokens, block_tokens);
    const block_index entered = cache.insert(salt, parent, own, table.blocks()[i]);
    if (entered != table.blocks()[i]) table.replace(pool, i, entered);
  }
  return table;
}

}  // namespace

TEST_CASE("prefix_cache finds whole blocks and always leaves the last token", "[memory]") {
  block_pool pool(16);
  prefix_cache cache(pool, block_tokens, 7);
  const auto prompt = ids({1, 2, 3, 4, 5, 6, 7, 8});
  auto table = compute(pool, cache, 0, prompt);
  REQUIRE(table);
  REQUIRE(cache.size() == 2);

  REQUIRE(cache.lookup(0, {prompt, {}}, 100).size() ==
          1);  // 8 tokens: the last block holds the last token
  const auto longer = ids({1, 2, 3, 4, 5, 6, 7, 8, 9});
  REQUIRE(cache.lookup(0, {longer, {}}, 100).size() == 2);
  REQUIRE(cache.lookup(0, {longer, {}}, 7).size() == 1);
  REQUIRE(cache.lookup(0, {longer, {}}, 0).empty());
  REQUIRE(cache.lookup(1, {longer, {}}, 100).empty());  // another tenant
  // A prompt and an output that meet inside a block are one run of positions.
  const auto head = ids({1, 2, 3, 4, 5, 6}), tail = ids({7, 8, 9});
  REQUIRE(cache.lookup(0, {head, tail}, 100).size() == 2);
  // The same tokens behind another parent are another block.
  REQUIRE(cache.lookup(0, {ids({5, 6, 7, 8, 9}), {}}, 100).empty());
  table->release(pool);
  REQUIRE(pool.cached() == 2);
  cache.check_integrity();
}

TEST_CASE("chain hashes depend on fingerprint, tenant, parent and tokens", "[memory]") {
  const auto hash_of_second = [](std::uint64_t fingerprint, std::uint64_t salt,
                                 std::vector<token_id> tokens) {
    block_pool pool(4);
    prefix_cache cache(pool, block_tokens, fingerprint);
    auto table = compute(pool, cache, salt, tokens);
    const std::uint64_t hash = cache.hash_of(table->blocks()[1]);
    table->release(pool);
    return hash;
  };
  const auto tokens = ids({1, 2, 3, 4, 5, 6, 7, 8});
  const auto base = hash_of_second(1, 2, tokens);
  REQUIRE(base == hash_of_second(1, 2, tokens));
  REQUIRE(base != hash_of_second(3, 2, tokens));
  REQUIRE(base != hash_of_second(1, 3, tokens));
  REQUIRE(base != hash_of_second(2, 1, tokens));
  REQUIRE(base != hash_of_second(1, 2, ids({0, 2, 3, 4, 5, 6, 7, 8})));
  REQUIRE(base != hash_of_second(1, 2, ids({1, 2, 3, 4, 5, 6, 7, 9})));
}

TEST_CASE("a hash collision is found out and serves nothing", "[memory]") {
  block_pool pool(8);
  prefix_cache cache(pool, 2, 7);
  const auto enter = [&](std::optional<block_index> parent, std::uint64_t pair) {
    const std::vector<token_id> tokens{
        static_cast<token_id>(static_cast<std::uint32_t>(pair)),
        static_cast<token_id>(static_cast<std::uint32_t>(pair >> 32))};
    return cache.insert(0, parent, tokens, *pool.allocate());
  };
  const block_index first = enter({}, 1), second = enter({}, 2);
  // The hash is a bijection of parent * constant + tokens: shift the tokens by what the parents
  // differ.
  const std::uint64_t shift = (cache.hash_of(first) - cache.hash_of(second)) * 0x9E3779B97F4A7C15u;
  const block_index child = enter(first, 5);
  const block_index colliding = enter(second, 5 + shift);
  REQUIRE(cache.hash_of(child) == cache.hash_of(colliding));
  REQUIRE(child != colliding);
  REQUIRE(cache.size() == 4);
  cache.check_integrity();
  const auto prompt = ids({1, 0, 5, 0, 9});
  REQUIRE(cache.lookup(0, {prompt, {}}, 100) == std::vector{first, child});
  REQUIRE(cache.lookup(0, {ids({2, 0, 5, 0, 9}), {}}, 100) == std::vector{second});
  // Evict in leaf order; the bucket that two blocks share keeps the other one.
  for (const block_index block : {child, colliding, second, first}) pool.release(block);
  auto taken = pool.allocate(5).value();
  REQUIRE(!cache.contains(child));
  REQUIRE(cache.contains(colliding));
  cache.check_integrity();
}

TEST_CASE("two sequences that compute the same block share one in the end", "[memory]") {
  block_pool pool(8);
  prefix_cache cache(pool, block_tokens, 7);
  const auto tokens = ids({1, 2, 3, 4, 5, 6, 7, 8});
  auto first = compute(pool, cache, 0, tokens);
  auto second = compute(pool, cache, 0, tokens);  // computes the second block again
  REQUIRE(std::ranges::equal(first->blocks(), second->blocks()));
  REQUIRE(pool.referenced() == 2);
  REQUIRE(pool.reference_count(first->blocks()[0]) == 2);
  first->release(pool);
  second->release(pool);
  REQUIRE(pool.cached() == 2);
}

TEST_CASE("eviction takes the tail of the sequence released longest ago", "[memory]") {
  block_pool pool(6);
  prefix_cache cache(pool, block_tokens, 7);
  const auto old_tokens = ids({1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 0});
  const auto new_tokens = ids({5, 1, 1, 1, 6, 2, 2, 2, 0});
  auto old_table = compute(pool, cache, 0, old_tokens);
  old_table->release(pool);
  auto new_table = compute(pool, cache, 0, new_tokens);
  new_table->release(pool);
  REQUIRE(pool.cached() == 5);
  auto taken = pool.allocate(2).value();  // the free block, then the old one's third
  REQUIRE(cache.lookup(0, {old_tokens, {}}, 100).size() == 2);
  auto more = pool.allocate(1).value();
  REQUIRE(cache.lookup(0, {old_tokens, {}}, 100).size() == 1);
  REQUIRE(cache.lookup(0, {new_tokens, {}}, 100).size() == 2);
  for (const auto block : taken) pool.release(block);
  for (const auto block : more) pool.release(block);
  cache.check_integrity();
}

TEST_CASE("prefix_cache agrees with a map of prefixes under random sequences", "[memory]") {
  const unsigned seed = 77001;
  INFO("seed " << seed);
  std::mt19937 random(seed);
  block_pool pool(40);
  prefix_cache cache(pool, block_tokens, 9);
  using prefix = std::pair<std::uint64_t, std::vector<token_id>>;
  std::map<block_index, prefix> contents;  // what each block held when it was last entered
  struct living {
    std::uint64_t salt;
    std::vector<token_id> tokens;
    block_table table;
  };
  std::vector<living> alive;
  std::size_t found_blocks = 0;

  for (int step = 0; step < 100'000; ++step) {
    if (alive.size() < 6 && random() % 2 == 0) {
      std::vector<token_id> tokens(1 + random() % 26);
      for (auto& token : tokens) token = token_id{static_cast<int>(random() % 2)};
      const std::uint64_t salt = random() % 2;
      const auto hits = cache.lookup(salt, {tokens, {}}, 1u << 20);
      found_blocks += hits.size();
      REQUIRE(hits.size() * block_tokens < tokens.size());
      for (std::size_t i = 0; i < hits.size(); ++i) {
        const auto end = tokens.begin() + static_cast<long>((i + 1) * block_tokens);
        REQUIRE(contents.at(hits[i]) == prefix(salt, {tokens.begin(), end}));
      }
      // Longest: no indexed block continues the chain.
      const std::size_t next_end = (hits.size() + 1) * block_tokens;
      if (next_end < tokens.size()) {
        const prefix next(salt, {tokens.begin(), tokens.begin() + static_cast<long>(next_end)});
        for (const auto& [block, held] : contents) {
          if (held == next) REQUIRE(!cache.contains(block));
        }
      }
      auto table = compute(pool, cache, salt, tokens);
      if (table) {
        for (std::size_t i = 0; (i + 1) * block_tokens <= tokens.size(); ++i) {
          const auto end = tokens.begin() + static_cast<long>((i + 1) * block_tokens);
          contents[table->blocks()[i]] = prefix(salt, {tokens.begin(), end});
        }
        alive.push_back({salt, std::move(tokens), std::move(*table)});
      }
    } else if (!alive.empty()) {
      auto& gone = alive[random() % alive.size()];
      gone.table.release(pool);
      std::swap(gone, alive.back());
      alive.pop_back();
    }
    pool.check_integrity();
    cache.check_integrity();
  }
  REQUIRE(found_blocks > 10'000);
  for (auto& each : alive) each.table.release(pool);
  REQUIRE(pool.referenced() == 0);
}
