// Proves that appending, forking and copy-on-write keep every sequence's positions apart: a model
// memory of (sequence's own value per position) is written and copied as the tables say and read
// back whole.
#include "runtime/memory/block_table.hpp"

#include <random>

#include <catch2/catch.hpp>

#include "runtime/memory/token_view.hpp"

using namespace troupe;

TEST_CASE("blocks_for rounds up", "[memory]") {
  REQUIRE(blocks_for(0, 16) == 0);
  REQUIRE(blocks_for(1, 16) == 1);
  REQUIRE(blocks_for(16, 16) == 1);
  REQUIRE(blocks_for(17, 16) == 2);
}

TEST_CASE("token_view joins prompt and output", "[memory]") {
  std::vector<token_id> prompt, output;
  for (int i = 0; i < 10; ++i) prompt.push_back(token_id{i});
  for (int i = 10; i < 17; ++i) output.push_back(token_id{i});
  const token_view view{prompt, output};
  REQUIRE(view.size() == 17);
  std::vector<token_id> scratch(17);
  for (std::uint32_t first = 0; first <= 17; ++first) {
    for (std::uint32_t count = 0; first + count <= 17; ++count) {
      const auto copied = view.copy(first, count);
      const auto viewed = view.contiguous(first, count, scratch);
      REQUIRE(std::ranges::equal(copied, viewed));
      for (std::uint32_t i = 0; i < count; ++i) {
        REQUIRE(copied[i] == token_id{static_cast<int>(first + i)});
        REQUIRE(view[first + i] == copied[i]);
      }
    }
  }
}

TEST_CASE("append is all or nothing", "[memory]") {
  block_pool pool(3);
  block_table table(4);
  REQUIRE(table.append(pool, 5).has_value());
  REQUIRE(table.block_count() == 2);
  REQUIRE(!table.append(pool, 8).has_value());
  REQUIRE(table.position_count() == 5);
  REQUIRE(pool.free() == 1);
  REQUIRE(table.append(pool, 7).has_value());
  table.release(pool);
  REQUIRE(pool.free() == 3);
}

TEST_CASE("the last holder of a shared partial block writes in place", "[memory]") {
  block_pool pool(8);
  block_table first(4);
  REQUIRE(first.append(pool, 6).has_value());
  block_table second = first.fork(pool);
  REQUIRE(pool.referenced() == 2);
  const auto copy = first.append(pool, 1).value();
  REQUIRE(copy);
  REQUIRE(copy->from == second.blocks()[1]);
  REQUIRE(copy->to == first.blocks()[1]);
  REQUIRE(!second.append(pool, 1).value());
  // A fork at a block boundary copies nothing.
  REQUIRE(first.append(pool, 1).has_value());
  block_table third = first.fork(pool);
  REQUIRE(third.blocks_to_append(pool, 1) == 1);
  REQUIRE(!third.append(pool, 1).value());
  for (auto* table : {&first, &second, &third}) table->release(pool);
  REQUIRE(pool.free() == 8);
}

TEST_CASE("random forks and appends never mix sequences", "[memory]") {
  const unsigned seed = 5150;
  INFO("seed " << seed);
  std::mt19937 random(seed);
  constexpr std::uint32_t block_tokens = 4;
  block_pool pool(30);
  std::vector<std::vector<int>> memory(30, std::vector<int>(block_tokens, -1));
  struct sequence {
    block_table table;
    std::vector<int> values;
  };
  std::vector<sequence> alive;
  int next_value = 0;

  for (int step = 0; step < 100'000; ++step) {
    const auto choice = random() % 8;
    if (alive.empty() || choice == 0) {
      if (alive.size() < 12) alive.push_back({block_table(block_tokens), {}});
    } else if (choice == 1) {
      const auto& from = alive[random() % alive.size()];
      if (alive.size() < 12) alive.push_back({from.table.fork(pool), from.values});
    } else if (choice == 2) {
      std::swap(alive[random() % alive.size()], alive.back());
      alive.back().table.release(pool);
      alive.pop_back();
    } else {
      auto& each = alive[random() % alive.size()];
      const auto count = static_cast<std::uint32_t>(1 + random() % 6);
      const auto needed = each.table.blocks_to_append(pool, count);
      const auto available = pool.available();
      const auto copy = each.table.append(pool, count);
      REQUIRE(copy.has_value() == (needed <= available));
      if (copy.has_value()) {
        REQUIRE(pool.available() == available - needed);
        if (*copy) memory[to_index((*copy)->to)] = memory[to_index((*copy)->from)];
        for (std::uint32_t i = 0; i < count; ++i) {
          const std::size_t position = each.values.size();
          const auto block = each.table.blocks()[position / block_tokens];
          REQUIRE(pool.reference_count(block) == 1);
          memory[to_index(block)][position % block_tokens] = next_value;
          each.values.push_back(next_value++);
        }
      }
    }
    pool.check_integrity();
    for (const auto& each : alive) {
      REQUIRE(each.table.position_count() == each.values.size());
      for (std::size_t i = 0; i < each.values.size(); ++i) {
        const auto block = each.table.blocks()[i / block_tokens];
        if (memory[to_index(block)][i % block_tokens] != each.values[i])
          FAIL("wrong value at " << i);
      }
    }
    if (alive.size() > 8 && pool.available() < 4) {  // make room, so that appends go on
      alive.back().table.release(pool);
      alive.pop_back();
    }
  }
  for (auto& each : alive) each.table.release(pool);
  REQUIRE(pool.free() == 30);
}
