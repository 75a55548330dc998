// What moving a block between the device and the lower tier costs, learned from the steps that
// moved some, and whether that is less than computing the block's tokens again. Plain deterministic
// objects and functions: durations are handed in.
//
// Each way is milliseconds a block: the sum of what recent steps took over the blocks that they
// moved, beside the profile, which counts as a tenth of a block. Old steps fade, those with
// transfers faster than those without, so that a tier that was slow once is tried again. A duration
// far from its prediction is brought nearer, so that one page fault changes little.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/schedule/cost_model.hpp"

namespace troupe {

/// Both positive. The default is a block of 0.7 MB, as 16 tokens of a model of 135 million weights
/// have.
struct transfer_profile {
  double offload_block_ms = 0.30;  ///< from the device to the lower tier
  double upload_block_ms = 0.10;   ///< and back
};

/// Of blocks of so many bytes that are copied to and from host memory.
transfer_profile transfer_profile_of(std::size_t block_bytes);

/// Blocks that one step moved in one direction.
struct moved_blocks {
  std::uint32_t count = 0;
  double ms = 0.0;  ///< of all together
};

class transfer_cost {
 public:
  explicit transfer_cost(const transfer_profile& prior = {});

  /// A step that took place. Durations that are not positive and finite are ignored.
  void observe(const moved_blocks& offloaded, const moved_blocks& uploaded);
  /// What a block is predicted to take now.
  [[nodiscard]] transfer_profile profile() const;

 private:
  struct direction {
    double prior_ms = 0.0;
    double ms = 0.0, blocks = 0.0;  ///< faded sums
    [[nodiscard]] double block_ms() const;
    void learn(const moved_blocks& moved);
  };
  direction offload_, upload_;
};

/// Whether a full block, number `place` of its prefix, is worth its way out and back.
bool is_worth_offloading(const cost_model& cost, const transfer_profile& transfers,
                         std::uint32_t block_tokens, std::uint32_t place);

/// How many of `count` blocks that are offered from number `first` of a prefix on are best
/// uploaded. A later block costs more to compute and the same to upload, so that what is saved is
/// most with all of them or with none.
std::uint32_t blocks_worth_uploading(const cost_model& cost, const transfer_profile& transfers,
                                     std::uint32_t block_tokens, std::uint32_t first,
                                     std::uint32_t count);

}  // namespace troupe
