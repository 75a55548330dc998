// The memory of the paged KV cache: layer_count x block_count blocks of kernels::kv_layout. Which
// block belongs to whom is the block pool's business (runtime/memory). A block that is used again
// may hold anything: attention ends its loops at a query's position, so nothing is cleared between
// uses.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "kernels/attention/attention.hpp"
#include "kernels/base/index_types.hpp"
#include "kernels/base/page_populator.hpp"
#include "kernels/base/result.hpp"

namespace troupe {

class kv_cache {
 public:
  /// Reserves zero pages, huge where the system grants them. Error: out_of_memory, with the size.
  static result<kv_cache> create(const kernels::kv_layout& layout, std::size_t layer_count,
                                 std::size_t block_count);
  kv_cache(kv_cache&& other) noexcept;
  kv_cache& operator=(kv_cache&& other) noexcept;
  ~kv_cache();

  [[nodiscard]] const kernels::kv_layout& layout() const noexcept { return layout_; }
  [[nodiscard]] std::size_t layer_count() const noexcept { return layer_count_; }
  [[nodiscard]] std::size_t block_count() const noexcept { return block_count_; }
  [[nodiscard]] std::size_t size_bytes() const noexcept { return layer_bytes() * layer_count_; }
  [[nodiscard]] kernels::kv_layer layer(std::size_t index) const noexcept;

  /// From now on the system hands out the pages in the background, those of low blocks first,
  /// instead of at their first use. The pool gives out low blocks first, too.
  void populate_in_background();
  /// Around a step: the background rests until nothing has computed for a while.
  void pause_population();
  void resume_population();

  /// Copies a block's contents in every layer, for copy on write.
  void copy_block(block_index from, block_index to);

  /// K and V of one block in every layer, first layer first.
  [[nodiscard]] std::size_t exported_bytes() const noexcept {
    return layout_.block_bytes() * layer_count_;
  }
  [[nodiscard]] std::vector<std::byte> export_block(block_index block) const;
  /// Error: invalid_argument for bytes of another size; then nothing is written.
  result<void> import_block(block_index block, std::span<const std::byte> bytes);

 private:
  kv_cache(const kernels::kv_layout& layout, std::size_t layer_count, std::size_t block_count,
           std::byte* data) noexcept;
  [[nodiscard]] std::size_t layer_bytes() const noexcept {
    return block_count_ * layout_.block_bytes();
  }

  kernels::kv_layout layout_;
  std::size_t layer_count_ = 0;
  std::size_t block_count_ = 0;
  std::byte* data_ = nullptr;
  std::unique_ptr<page_populator> populator_;  // never outlives the mapping
};

}  // namespace troupe
