// Who holds which block of the KV cache. A block is free, cached (nobody refers to it, but the
// prefix index still names its contents) or referenced (by one or more block tables). The pool
// knows numbers only, never contents; every operation is O(1).
//
//            allocate                release, not indexed
//    free ------------> referenced ----------------------> free
//                        ^      |  release, indexed
//                  share |      v
//                        cached -------- evicted, least recently released first ----> referenced,
//                        free
//
// free + cached + referenced == total after every operation.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/base/index_types.hpp"
#include "kernels/base/result.hpp"

namespace troupe {

enum class block_state : std::uint8_t { free, cached, referenced };

class block_pool {
 public:
  /// block_count: 1 .. limits::block_count_max.
  explicit block_pool(std::uint32_t block_count);
  block_pool(const block_pool&) = delete;
  block_pool& operator=(const block_pool&) = delete;

  /// Called with each cached block just before it is given to a new owner.
  void on_evicted(std::function<void(block_index)> handler) { evicted_ = std::move(handler); }

  /// A block with one reference: a free one, else the cached one released longest ago. Error:
  /// out_of_memory when all are referenced.
  result<block_index> allocate();
  /// All of them or none.
  result<std::vector<block_index>> allocate(std::uint32_t count);
  /// One more reference to a referenced or cached block.
  void share(block_index block);
  /// One reference less. At zero the block becomes the most recent cached one if indexed, else
  /// free.
  void release(block_index block);

  /// The prefix index names this referenced block from now on.
  void set_indexed(block_index block);
  /// The prefix index names it no longer; a cached block becomes free.
  void clear_indexed(block_index block);

  [[nodiscard]] std::uint32_t total() const { return static_cast<std::uint32_t>(blocks_.size()); }
  [[nodiscard]] std::uint32_t free() const { return free_.count; }
  [[nodiscard]] std::uint32_t cached() const { return cached_.count; }
  [[nodiscard]] std::uint32_t referenced() const { return referenced_; }
  /// How many blocks allocate() can still give.
  [[nodiscard]] std::uint32_t available() const { return free_.count + cached_.count; }
  [[nodiscard]] std::uint32_t reference_count(block_index block) const;
  [[nodiscard]] block_state state_of(block_index block) const;
  [[nodiscard]] bool is_indexed(block_index block) const;

  /// Walks everything, O(total); ends the process on a breach.
  void check_integrity() const;

 private:
  static constexpr std::int32_t none = -1;
  struct entry {
    std::uint32_t references = 0;
    std::int32_t previous = none,
                 next = none;  ///< in the list of its state; referenced blocks: in none
    bool indexed = false;
  };
  struct list {
    std::int32_t head = none, tail = none;  ///< head leaves first
    std::uint32_t count = 0;
  };

  entry& at(block_index block);
  [[nodiscard]] const entry& at(block_index block) const;
  void push_back(list& target, block_index block);
  void push_front(list& target, block_index block);
  void remove(list& target, block_index block);
  block_index take();
  void check_sum() const;
  [[nodiscard]] std::uint32_t check_list(const list& target, bool indexed) const;

  std::vector<entry> blocks_;
  list free_, cached_;
  std::uint32_t referenced_ = 0;
  std::function<void(block_index)> evicted_;
};

}  // namespace troupe
