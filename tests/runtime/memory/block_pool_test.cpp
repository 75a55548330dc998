// Proves that the pool hands out each block to one owner at a time, evicts in LRU order and
// conserves blocks: random operations against a model of plain containers, integrity checked after
// each.
#include "runtime/memory/block_pool.hpp"

#include <deque>
#include <map>
#include <random>
#include <set>

#include <catch2/catch.hpp>

using namespace troupe;

namespace {

struct naive_pool {
  explicit naive_pool(int count) {
    for (int i = 0; i < count; ++i) free.insert(i);
  }
  std::set<int> free;
  std::deque<int> cached;         // front: released longest ago
  std::map<int, int> references;  // of referenced blocks
  std::set<int> indexed;

  void release(int block) {
    if (--references.at(block) != 0) return;
    references.erase(block);
    if (indexed.contains(block)) {
      cached.push_back(block);
    } else {
      free.insert(block);
    }
  }
  void share(int block) {
    std::erase(cached, block);
    ++references[block];
  }
};

int pick(const auto& container, std::mt19937& random) {
  return *std::next(container.begin(), static_cast<long>(random() % container.size()));
}

}  // namespace

TEST_CASE("block_pool agrees with a naive pool under random operations", "[memory]") {
  const unsigned seed = 20240611;
  INFO("seed " << seed);
  std::mt19937 random(seed);
  constexpr int count = 24;
  block_pool pool(count);
  naive_pool naive(count);
  std::vector<int> evicted;
  pool.on_evicted([&](block_index block) { evicted.push_back(static_cast<int>(block)); });

  for (int step = 0; step < 150'000; ++step) {
    evicted.clear();
    switch (random() % 6) {
      case 0:
      case 1: {
        const auto wanted = static_cast<std::uint32_t>(random() % 4);
        const bool fits = naive.free.size() + naive.cached.size() >= wanted;
        const auto taken = pool.allocate(wanted);
        REQUIRE(taken.has_value() == fits);
        if (!fits) {
          REQUIRE(taken.failure().code == errc::out_of_memory);
          break;
        }
        REQUIRE(taken->size() == wanted);
        std::size_t evictions = 0;
        for (const block_index block : *taken) {
          const int number = static_cast<int>(block);
          if (naive.free.erase(number) == 0) {
            REQUIRE(naive.free.empty());
            REQUIRE(naive.cached.front() == number);
            REQUIRE(evicted.at(evictions++) == number);
            naive.cached.pop_front();
            naive.indexed.erase(number);
          }
          naive.references[number] = 1;
        }
        REQUIRE(evicted.size() == evictions);
        break;
      }
      case 2: {
        if (naive.references.empty()) break;
        const int block = std::next(naive.references.begin(),
                                    static_cast<long>(random() % naive.references.size()))
                              ->first;
        naive.release(block);
        pool.release(static_cast<block_index>(block));
        break;
      }
      case 3: {  // share a referenced or a cached block
        if (random() % 2 == 0 && !naive.cached.empty()) {
          const int block = pick(naive.cached, random);
          naive.share(block);
          pool.share(static_cast<block_index>(block));
        } else if (!naive.references.empty()) {
          const int block = naive.references.begin()->first;
          naive.share(block);
          pool.share(static_cast<block_index>(block));
        }
        break;
      }
      case 4: {
        for (const auto& [block, references] : naive.references) {
          if (naive.indexed.contains(block)) continue;
          naive.indexed.insert(block);
          pool.set_indexed(static_cast<block_index>(block));
          break;
        }
        break;
      }
      case 5: {
        if (naive.indexed.empty() || random() % 4 != 0) break;
        const int block = pick(naive.indexed, random);
        naive.indexed.erase(block);
        if (std::erase(naive.cached, block) != 0) naive.free.insert(block);
        pool.clear_indexed(static_cast<block_index>(block));
        break;
      }
    }
    pool.check_integrity();
    REQUIRE(pool.free() == naive.free.size());
    REQUIRE(pool.cached() == naive.cached.size());
    REQUIRE(pool.referenced() == naive.references.size());
    if (step % 64 != 0) continue;
    for (int i = 0; i < count; ++i) {
      const auto found = naive.references.find(i);
      REQUIRE(pool.reference_count(static_cast<block_index>(i)) ==
              (found == naive.references.end() ? 0u : static_cast<unsigned>(found->second)));
      REQUIRE(pool.is_indexed(static_cast<block_index>(i)) == naive.indexed.contains(i));
    }
  }
}

TEST_CASE("an exhausted block_pool answers with the numbers and keeps what it had", "[memory]") {
  block_pool pool(4);
  const auto three = pool.allocate(3);
  REQUIRE(three.has_value());
  const auto two = pool.allocate(2);
  REQUIRE(!two.has_value());
  REQUIRE(two.failure().code == errc::out_of_memory);
  REQUIRE(two.failure().message == "2 KV blocks asked for, 1 of 4 can be had");
  REQUIRE(pool.allocate().has_value());
  REQUIRE(!pool.allocate().has_value());
  pool.release(three->front());
  REQUIRE(pool.state_of(three->front()) == block_state::free);
  REQUIRE(*pool.allocate() == three->front());
}
