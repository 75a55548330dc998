// What panels are told to ask for ahead of attention: every line of every block once, in order, and
// nothing afterwards.
#include "kernels/matmul/read_ahead.hpp"

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include "kernels/base/thread_pool.hpp"

using namespace troupe;
using kernels::read_ahead;

namespace {

constexpr std::size_t line_bytes = 64;
/// Never read: only addresses are made of it.
const std::byte* const data = reinterpret_cast<const std::byte*>(std::uintptr_t{1} << 40);

/// The lines that a panel of group_count groups asks for, by their number in memory.
std::vector<std::size_t> lines_of(const read_ahead::piece& piece, std::size_t group_count) {
  std::vector<std::size_t> lines;
  for (std::size_t i = 0; i < piece.lines_a_group * group_count; ++i)
    lines.push_back(static_cast<std::size_t>(piece.first - data) / line_bytes + i);
  return lines;
}

}  // namespace

TEST_CASE("read-ahead hands out the lines of its blocks once and in order", "[matmul]") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto up_to = [&](std::size_t most) { return 1 + random() % most; };
  for (int run = 0; run < 200; ++run) {
    const std::size_t block_lines = up_to(40), panel_groups = up_to(20);
    std::vector<block_index> blocks(up_to(30));
    for (auto& block : blocks) block = static_cast<block_index>(random() % 1000);
    std::vector<std::size_t> expected;
    for (const block_index block : blocks) {
      for (std::size_t i = 0; i < block_lines; ++i)
        expected.push_back(to_index(block) * block_lines + i);
    }
    read_ahead ahead;
    ahead.begin(data, block_lines * line_bytes, blocks, up_to(2000), up_to(100));
    std::vector<std::size_t> lines;
    std::size_t extra = 0;
    for (auto piece = ahead.claim(panel_groups); piece.lines_a_group != 0;
         piece = ahead.claim(panel_groups)) {
      for (const std::size_t line : lines_of(piece, panel_groups)) {
        // A piece ends with its block, or with less than a line a group behind it.
        if (lines.size() < expected.size() && line == expected[lines.size()])
          lines.push_back(line);
        else
          ++extra;
      }
      REQUIRE(extra < panel_groups * (1 + lines.size() / block_lines));
    }
    CHECK(lines == expected);
  }
}

TEST_CASE("read-ahead asks for no more lines a group than leave memory for weights", "[matmul]") {
  const std::vector<block_index> blocks(1000, block_index{7});
  read_ahead ahead;
  const auto lines_with = [&](std::size_t row_count) {
    ahead.begin(data, 1000 * line_bytes, blocks, 10, row_count);
    return ahead.claim(10).lines_a_group;
  };
  CHECK(lines_with(1) == 1);
  CHECK(lines_with(8) > lines_with(4));  // they are multiplied for longer
  CHECK(lines_with(8) <= 8);
  CHECK(lines_with(16) <= 16);
  CHECK(lines_with(17) == lines_with(8));  // tiles of 16 rows and of 1
  CHECK(lines_with(500) <= 16);
  ahead.end();
  CHECK(ahead.claim(10).lines_a_group == 0);
  ahead.begin(data, line_bytes, {}, 10, 16);
  CHECK(ahead.claim(10).lines_a_group == 0);
}

TEST_CASE("threads claim different lines of a read-ahead", "[matmul]") {
  constexpr std::size_t block_lines = 24, block_count = 500, panel_groups = 4;
  std::vector<block_index> blocks;
  for (std::size_t i = 0; i < block_count; ++i) blocks.push_back(static_cast<block_index>(i));
  read_ahead ahead;
  // A line a group.
  ahead.begin(data, block_lines * line_bytes, blocks, block_count * block_lines, 16);
  std::vector<int> asked(block_count * block_lines);
  std::mutex asked_mutex;
  thread_pool pool({.thread_count = 4});
  pool.parallel_for(block_count * block_lines / panel_groups, [&](std::size_t, std::size_t) {
    const auto lines = lines_of(ahead.claim(panel_groups), panel_groups);
    const std::lock_guard lock(asked_mutex);
    for (const std::size_t line : lines) ++asked[line];
  });
  CHECK(asked == std::vector<int>(asked.size(), 1));
  CHECK(ahead.claim(panel_groups).lines_a_group == 0);
}
