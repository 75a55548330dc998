#include "kernels/matmul/read_ahead.hpp"

#include <algorithm>

#include "kernels/base/check.hpp"
#include "kernels/base/divide_up.hpp"
#include "kernels/matmul/packed_layout.hpp"

namespace troupe::kernels {

namespace {

constexpr std::size_t line_bytes = 64;
// How many lines a group may ask for, by the rows that it multiplies. More takes the memory away
// from weights, of which a group has 5 lines and more: matmul of 8 rows becomes slower, and
// attention has the less to gain.
constexpr std::size_t lines_of_rows(std::size_t row_count) {
  return std::max<std::size_t>(1, row_count * 3 / 4);
}

}  // namespace

bool read_ahead::is_worthwhile(isa set) noexcept {
  return (set == isa::avx2 || set == isa::avx512) && detect_cpu_features().reads_ahead_for_free;
}

void read_ahead::begin(const std::byte* data, std::size_t block_bytes,
                       std::span<const block_index> blocks, std::size_t panel_groups,
                       std::size_t row_count) {
  const std::size_t row_tiles = divide_up(row_count, tile_rows);
  const std::size_t group_count = panel_groups * row_tiles;
  TROUPE_CHECK(block_bytes > 0 && block_bytes % line_bytes == 0 && group_count > 0);
  data_ = data;
  blocks_ = blocks;
  block_lines_ = block_bytes / line_bytes;
  line_count_ = blocks.size() * block_lines_;
  lines_a_group_ =
      std::min(lines_of_rows(row_count / row_tiles), divide_up(line_count_, group_count));
  next_line_.store(0, std::memory_order_relaxed);
}

read_ahead::piece read_ahead::claim(std::size_t group_count) noexcept {
  std::size_t line = next_line_.load(std::memory_order_relaxed);
  while (line < line_count_) {
    const std::size_t in_block = line % block_lines_;
    const std::size_t count = std::min(lines_a_group_ * group_count, block_lines_ - in_block);
    if (next_line_.compare_exchange_weak(line, line + count, std::memory_order_relaxed)) {
      const std::size_t block = to_index(blocks_[line / block_lines_]);
      return {data_ + (block * block_lines_ + in_block) * line_bytes,
              divide_up(count, group_count)};
    }
  }
  return {};
}

}  // namespace troupe::kernels
