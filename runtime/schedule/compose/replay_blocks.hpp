// The block pool and the prefix cache as numbers: how many blocks of each shared prefix, and of
// what each request has for itself, are on the device. The rules are those of block_pool and
// prefix_cache (least recently released first, leaves before their parents), for whole runs of
// blocks at once.
//
// A run is a node of the prefix tree or what a request has behind its nodes. While somebody refers
// to a run, its resident blocks are held; afterwards they are cached until others need the place.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/schedule/compose/batch_problem.hpp"

namespace troupe {

class replay_blocks {
 public:
  explicit replay_blocks(const batch_problem& problem);

  /// Back to the moment of the view; no allocation.
  void reset();

  /// What a request may still take: free blocks and cached ones.
  [[nodiscard]] std::uint32_t available() const { return free_ + cached_; }

  struct hit {
    std::uint32_t blocks = 0;      ///< leading ones of the request that are on the device
    std::uint32_t referenced = 0;  ///< of them, held by somebody
  };
  /// For a request with so many known tokens: never the block of the last one.
  [[nodiscard]] hit find(std::uint32_t request, std::uint32_t known_tokens) const;
  /// The request holds those blocks from now on.
  void adopt(std::uint32_t request, std::uint32_t hit_blocks);
  /// Blocks for the request's own use, at most available(): free ones, then the longest unused.
  void take(std::uint32_t blocks);
  void give_back(std::uint32_t blocks) { free_ += blocks; }
  /// A step computed full blocks [first, end) of the request, for which it had taken blocks. Those
  /// that were on the device already are free again.
  void computed(std::uint32_t request, std::uint32_t first, std::uint32_t end);
  /// The request leaves; behind its nodes it has so many full blocks, and others that nobody can
  /// find.
  void release(std::uint32_t request, std::uint32_t full_private, std::uint32_t other);

 private:
  [[nodiscard]] std::uint32_t private_run(std::uint32_t request) const {
    return node_count_ + request;
  }
  void hold(std::uint32_t run);
  void let_go(std::uint32_t run);
  void evict(std::uint32_t blocks);

  struct released_run {
    std::uint32_t run = 0, stamp = 0;
  };

  const batch_problem* problem_;
  std::uint32_t node_count_ = 0;
  std::uint32_t free_ = 0, cached_ = 0;
  std::vector<std::uint32_t> resident_;    ///< leading blocks of each run
  std::vector<std::uint32_t> references_;  ///< requests that hold each run
  std::vector<std::uint32_t> stamps_;      ///< of each run's last change between held and cached
  std::vector<std::uint32_t> entered_;     ///< of each request: how many nodes of its path it holds
  std::vector<released_run> released_;     ///< least recently first; outdated ones have old stamps
  std::size_t released_first_ = 0;
};

}  // namespace troupe
