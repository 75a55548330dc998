#include "runtime/schedule/transfer_cost.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/base/check.hpp"

namespace troupe {
namespace {

/// What is left of a step's weight after another one that moved blocks the same way, and after
/// another one of any.
constexpr double moved_keep = 0.9, all_keep = 0.985;
/// How many blocks the profile counts for.
constexpr double prior_blocks = 0.1;
/// A duration counts as at most so many times its prediction, and as at least that part of it.
constexpr double times_believed = 4.0;

/// Copies into memory that was just allocated, page by page, and out of memory that is there.
constexpr double offload_bytes_per_ms = 2.5e6, upload_bytes_per_ms = 7.5e6;

}  // namespace

transfer_profile transfer_profile_of(std::size_t block_bytes) {
  TROUPE_CHECK(block_bytes != 0);
  const auto bytes = static_cast<double>(block_bytes);
  return {.offload_block_ms = bytes / offload_bytes_per_ms,
          .upload_block_ms = bytes / upload_bytes_per_ms};
}

transfer_cost::transfer_cost(const transfer_profile& prior)
    : offload_{.prior_ms = prior.offload_block_ms}, upload_{.prior_ms = prior.upload_block_ms} {
  for (const double each : {prior.offload_block_ms, prior.upload_block_ms})
    TROUPE_CHECK(each > 0.0 && std::isfinite(each));
}

double transfer_cost::direction::block_ms() const {
  return (prior_ms * prior_blocks + ms) / (prior_blocks + blocks);
}

void transfer_cost::direction::learn(const moved_blocks& moved) {
  const bool is_told = moved.count != 0 && moved.ms > 0.0 && std::isfinite(moved.ms);
  const double predicted_ms = block_ms() * moved.count;
  ms *= is_told ? moved_keep : all_keep;
  blocks *= is_told ? moved_keep : all_keep;
  if (!is_told) return;
  ms += std::clamp(moved.ms, predicted_ms / times_believed, predicted_ms * times_believed);
  blocks += moved.count;
}

void transfer_cost::observe(const moved_blocks& offloaded, const moved_blocks& uploaded) {
  offload_.learn(offloaded);
  upload_.learn(uploaded);
}

transfer_profile transfer_cost::profile() const {
  return {.offload_block_ms = offload_.block_ms(), .upload_block_ms = upload_.block_ms()};
}

bool is_worth_offloading(const cost_model& cost, const transfer_profile& transfers,
                         std::uint32_t block_tokens, std::uint32_t place) {
  return transfers.offload_block_ms + transfers.upload_block_ms <
         cost.added_prefill_ms(block_tokens, place * block_tokens);
}

std::uint32_t blocks_worth_uploading(const cost_model& cost, const transfer_profile& transfers,
                                     std::uint32_t block_tokens, std::uint32_t first,
                                     std::uint32_t count) {
  const double upload_ms = transfers.upload_block_ms * count;
  const double compute_ms = cost.added_prefill_ms(count * block_tokens, first * block_tokens);
  return upload_ms < compute_ms ? count : 0;
}

}  // namespace troupe
