// Proves that the store gives back exactly what was stored under an equal key and nothing else, in
// the order and within the bytes of a naive least-recently-used list, and that equal hashes do not
// make equal keys.
#include "runtime/storage/memory_kv_store.hpp"

#include <deque>
#include <random>

#include <catch2/catch.hpp>

using namespace troupe;

namespace {

constexpr std::uint32_t block_tokens = 2;

block_bytes bytes_of(std::size_t count, unsigned seed) {
  return std::make_shared<const std::vector<std::byte>>(count, static_cast<std::byte>(seed));
}

std::vector<block_key_ptr> keys_of(std::uint64_t salt, const std::vector<int>& tokens) {
  std::vector<token_id> prompt;
  for (const int token : tokens) prompt.push_back(token_id{token});
  prompt.push_back(token_id{0});  // the last token has no key
  return block_keys_of(7, salt, {prompt, {}}, block_tokens);
}

/// Whole prefixes in a list, the least recent first.
struct naive_store {
  struct entry {
    std::uint64_t salt;
    std::vector<int> prefix;
    block_bytes bytes;
    std::size_t cost;
  };

  std::deque<entry>::iterator at(std::uint64_t salt, const std::vector<int>& prefix) {
    return std::ranges::find_if(
        entries, [&](const entry& each) { return each.salt == salt && each.prefix == prefix; });
  }
  void touch(std::deque<entry>::iterator place) {
    const entry moved = *place;
    entries.erase(place);
    entries.push_back(moved);
  }
  void store(entry added) {
    if (const auto known = at(added.salt, added.prefix); known != entries.end())
      return touch(known);
    if (added.cost > capacity) return;
    entries.push_back(std::move(added));
    while (bytes() > capacity) entries.pop_front();
  }
  [[nodiscard]] std::size_t bytes() const {
    std::size_t sum = 0;
    for (const auto& each : entries) sum += each.cost;
    return sum;
  }

  std::size_t capacity;
  std::deque<entry> entries;
};

}  // namespace

TEST_CASE("memory_kv_store agrees with a naive list", "[storage]") {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const auto below = [&](unsigned bound) { return static_cast<unsigned>(random() % bound); };
    const std::size_t capacity = seed % 10 == 0 ? 0 : 300 + below(6000);
    memory_kv_store store(capacity);
    naive_store naive{capacity, {}};
    std::vector<std::pair<std::vector<int>, std::vector<block_key_ptr>>> known[2];
    for (int step = 0; step < 400; ++step) {
      const std::uint64_t salt = below(2);
      std::vector<int> tokens(block_tokens * (1 + below(5)));
      for (int& token : tokens) token = static_cast<int>(below(2));
      auto keys = keys_of(salt, tokens);
      // Sometimes the same key objects again, as one replica's prefix index gives them.
      if (!known[salt].empty() && below(2) == 0) {
        std::tie(tokens, keys) = known[salt][below(static_cast<unsigned>(known[salt].size()))];
      } else if (below(4) == 0) {
        known[salt].emplace_back(tokens, keys);
      }
      REQUIRE(keys.size() == tokens.size() / block_tokens);
      const auto prefix_of = [&](std::size_t place) {
        return std::vector<int>(tokens.begin(),
                                tokens.begin() + static_cast<long>((place + 1) * block_tokens));
      };
      if (below(2) == 0) {
        const std::size_t place = below(static_cast<unsigned>(keys.size()));
        const stored_block block{keys[place], bytes_of(below(400), static_cast<unsigned>(step))};
        store.store({block});
        naive.store({salt, prefix_of(place), block.bytes, memory_kv_store::cost_of(block)});
      } else {
        const auto found = store.find(keys);
        std::size_t next = 0;
        for (std::uint32_t i = 0; i < keys.size(); ++i) {
          const auto expected = naive.at(salt, prefix_of(i));
          if (expected == naive.entries.end()) continue;
          REQUIRE(next < found.size());
          REQUIRE(found[next].place == i);
          REQUIRE(found[next].key == keys[i]);
          REQUIRE(found[next++].bytes == expected->bytes);
        }
        REQUIRE(next == found.size());
        for (auto each = found.rbegin(); each != found.rend(); ++each) {
          naive.touch(naive.at(salt, prefix_of(each->place)));
        }
      }
      store.check_integrity();
      REQUIRE(store.size() == naive.entries.size());
      REQUIRE(store.size_bytes() == naive.bytes());
    }
  }
}

TEST_CASE("keys are equal only when the whole chain is", "[storage]") {
  const auto keys = keys_of(0, {1, 2, 3, 4});
  REQUIRE(*keys[1] == *keys_of(0, {1, 2, 3, 4})[1]);
  REQUIRE(!(*keys[1] == *keys_of(1, {1, 2, 3, 4})[1]));
  REQUIRE(!(*keys[1] == *keys_of(0, {9, 2, 3, 4})[1]));
  REQUIRE(!(*keys[1] == *keys_of(0, {3, 4})[0]));
  const auto parent = keys[0];
  const std::vector<token_id> tokens{token_id{3}, token_id{4}};
  REQUIRE(*block_key::make(7, 0, parent, tokens) == *keys[1]);
  REQUIRE(!(*block_key::make(8, 0, nullptr, tokens) == *block_key::make(7, 0, nullptr, tokens)));
}

TEST_CASE("a very long chain of keys is freed without recursion", "[storage]") {
  const std::vector<token_id> tokens{token_id{1}};
  block_key_ptr last;
  for (int i = 0; i < 1'000'000; ++i) last = block_key::make(7, 0, std::move(last), tokens);
  last.reset();
}
