// Blocks of the lower tier: what it offers for a request's prompt, and which of it a plan uploads.
#include <algorithm>
#include <utility>

#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {

bool scheduler_core::state::offer_blocks(request_state& request,
                                         std::vector<offered_block> blocks) {
  // A request that has begun has its blocks, or computes them.
  if (!limits.enable_offload || !limits.enable_prefix_caching || request.active_count != 0) {
    return false;
  }
  drop_offers(request);
  const std::vector<token_id>& prompt = *request.request.prompt;
  const std::uint32_t room = limits.block_count - offered_blocks;
  for (offered_block& each : blocks) {
    if (request.offers.size() == room) break;
    // The chain before it was verified where it was found; this is the last line of defence
    // against an answer to another request's question.
    const std::size_t first = std::size_t{each.place} * limits.block_tokens;
    const bool fits = first + limits.block_tokens < prompt.size();
    TROUPE_CHECK(fits && each.key && each.bytes);
    TROUPE_CHECK(each.key->model_fingerprint() == limits.model_fingerprint &&
                 each.key->tenant_salt() == request.request.tenant_salt);
    TROUPE_CHECK(std::ranges::equal(each.key->tokens(),
                                    std::span(prompt).subspan(first, limits.block_tokens)));
    TROUPE_CHECK(request.offers.empty() || request.offers.back().place < each.place);
    request.offers.push_back(std::move(each));
  }
  offered_blocks += static_cast<std::uint32_t>(request.offers.size());
  return !request.offers.empty();
}

void scheduler_core::state::drop_offers(request_state& request) {
  offered_blocks -= static_cast<std::uint32_t>(request.offers.size());
  request.offers = {};
}

std::span<const offered_block> scheduler_core::state::offers_from(
    const request_state& request, std::uint32_t first, std::uint32_t positions_max) const {
  const auto begin = std::ranges::lower_bound(request.offers, first, {}, &offered_block::place);
  const std::uint32_t places_end =
      std::min(request.prompt_count() - 1, positions_max) / limits.block_tokens;
  std::uint32_t count = 0;
  for (auto each = begin; each != request.offers.end() && count < uploads_left; ++each, ++count) {
    if (each->place != first + count || each->place >= places_end) break;
  }
  return {begin, count};
}

/// Appends blocks for the offers behind the sequence's cached prefix. Room was made before.
std::vector<block_upload> scheduler_core::state::take_uploads(
    sequence_state& sequence, std::span<const offered_block> offers) {
  std::vector<block_upload> uploads;
  if (offers.empty()) return uploads;
  const auto count = static_cast<std::uint32_t>(offers.size());
  const std::uint32_t first = sequence.table.block_count();
  const auto copy = sequence.table.append(pool, count * limits.block_tokens);
  TROUPE_CHECK(copy.has_value() && !copy.value());  // full blocks only: nothing to copy
  uploads.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    uploads.push_back({sequence.table.blocks()[first + i], offers[i].bytes});
  }
  sequence.computed_count += count * limits.block_tokens;
  sequence.uploaded_count = count;
  uploads_left -= count;
  return uploads;
}

}  // namespace troupe
