// Memory that is read after some matmuls, asked for while they multiply. Products of several rows
// leave the memory idle for half of their time, and attention of single rows waits for memory: so a
// panel also asks for lines of the blocks that attention will read.
#pragma once

#include <atomic>
#include <cstddef>
#include <span>

#include "kernels/base/cpu_features.hpp"
#include "kernels/base/index_types.hpp"

namespace troupe::kernels {

class read_ahead {
 public:
  /// What one panel asks for: so many cache lines with each of its groups, from `first` on.
  struct piece {
    const std::byte* first = nullptr;
    std::size_t lines_a_group = 0;

    /// Asks for the next group's lines, into L2.
    __attribute__((always_inline)) void ask() {
      for (std::size_t line = 0; line < lines_a_group; ++line, first += 64)
        __builtin_prefetch(first, 0, 2);
    }
  };

  /// Whether matmuls of the set ask for anything, and this machine gains by it.
  [[nodiscard]] static bool is_worthwhile(isa set) noexcept;

  /// From now on, while no thread claims: blocks of block_bytes (whole cache lines) each, block i
  /// at data + i * block_bytes, in the order in which they will be read. The lines are spread over
  /// the panel_groups groups of all panels that row_count rows will be multiplied with until then.
  /// `blocks` must live until end() or the next begin().
  void begin(const std::byte* data, std::size_t block_bytes, std::span<const block_index> blocks,
             std::size_t panel_groups, std::size_t row_count);
  /// What is left is not asked for any more.
  void end() noexcept { line_count_ = 0; }

  /// The next lines, for a panel of group_count groups, of one block; none where nothing is left.
  /// Threads may claim at the same time. Of the last group's lines some may lie behind the block.
  [[nodiscard]] piece claim(std::size_t group_count) noexcept;

 private:
  const std::byte* data_ = nullptr;
  std::span<const block_index> blocks_;
  std::size_t block_lines_ = 1;
  std::size_t line_count_ = 0;
  std::size_t lines_a_group_ = 0;
  std::atomic<std::size_t> next_line_{0};
};

}  // namespace troupe::kernels
