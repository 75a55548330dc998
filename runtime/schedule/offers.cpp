// Blocks to and from the lower tier: which evicted ones are worth their way there, which sequences
// want theirs back, what is offered for them, and which of it a plan uploads. Every choice goes by
// predicted cost: of moving a block, and of computing its tokens again (transfer_cost.hpp).
#include <algorithm>
#include <array>
#include <limits>
#include <ranges>
#include <utility>

#include "config/limits.hpp"
#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {

double scheduler_core::state::transfer_ms_max() const {
  if (!step_ms_max) return std::numeric_limits<double>::infinity();
  return *step_ms_max * troupe::limits::transfer_share;
}

void scheduler_core::state::offload(block_index block, block_key_ptr key) {
  const transfer_profile predicted = transfers.profile();
  const bool is_worth = is_worth_offloading(cost, predicted, limits.block_tokens, key->place());
  if (!is_worth || predicted.offload_block_ms > transfer_ms_left) {
    ++dropped_blocks;
    return;
  }
  transfer_ms_left -= predicted.offload_block_ms;
  offloads.push_back({block, std::move(key)});
}

std::vector<sequence_id> scheduler_core::state::prepare_returns(monotonic_time now) {
  std::vector<sequence_id> wanted;
  const std::size_t count = std::min(lost.size(), troupe::limits::kv_returns_max);
  const auto next_end = lost.begin() + static_cast<std::ptrdiff_t>(count);
  std::ranges::partial_sort(lost, next_end, {}, [](const returning& each) {
    return std::pair(each.request->rank, each.sequence->index);
  });
  for (const returning& each : std::views::reverse(std::span(lost).first(count))) {
    const token_view tokens = each.request->tokens_of(*each.sequence);
    const auto kept = prefix.lookup(each.request->request.tenant_salt, tokens, tokens.size());
    for (const block_index block : kept) pool.share(block);
    for (const block_index block : std::views::reverse(kept)) pool.release(block);
    lost_progress& lost_of = each.sequence->lost;
    const auto kept_count = static_cast<std::uint32_t>(kept.size());
    const std::uint32_t full_count = lost_of.positions / limits.block_tokens;
    if (kept_count >= std::min(full_count, lost_of.asked_from) ||
        blocks_worth_uploading(cost, transfers.profile(), limits.block_tokens, kept_count,
                               full_count - kept_count) == 0)
      continue;
    if (!lost_of.asked_at) lost_of.asked_at = now;
    lost_of.asked_from = kept_count;
    lost_of.is_answered = false;
    wanted.push_back({each.request->id(), each.sequence->index});
  }
  return wanted;
}

bool scheduler_core::state::waits_for_blocks(const sequence_state& sequence,
                                             monotonic_time now) const {
  if (sequence.lost.is_answered || drafted.tokens() == 0) return false;
  const double waited_ms = to_ms(now - *sequence.lost.asked_at);
  return waited_ms + cost.predict_ms(drafted) <= troupe::limits::kv_fetch_ms_max;
}

bool scheduler_core::state::offer_blocks(request_state& request, sequence_state& sequence,
                                         std::vector<offered_block> blocks) {
  // A sequence that has begun has its blocks, or computes them.
  if (!limits.enable_offload || !limits.enable_prefix_caching ||
      sequence.phase != sequence_phase::idle || !request.is_schedulable(sequence)) {
    return false;
  }
  sequence.lost.is_answered = true;
  drop_offers(sequence);
  const token_view tokens = request.tokens_of(sequence);
  const std::uint32_t room = limits.block_count - offered_blocks;
  std::array<token_id, troupe::limits::block_tokens_max> scratch;
  for (offered_block& each : blocks) {
    if (sequence.offers.size() == room) break;
    // The chain before it was verified where it was found; this is the last line of defence
    // against an answer to another request's question.
    const std::uint32_t first = each.place * limits.block_tokens;
    TROUPE_CHECK(each.key && each.bytes && each.key->place() == each.place);
    TROUPE_CHECK(first + limits.block_tokens < tokens.size());
    TROUPE_CHECK(each.key->model_fingerprint() == limits.model_fingerprint &&
                 each.key->tenant_salt() == request.request.tenant_salt);
    TROUPE_CHECK(std::ranges::equal(each.key->tokens(),
                                    tokens.contiguous(first, limits.block_tokens, scratch)));
    TROUPE_CHECK(sequence.offers.empty() || sequence.offers.back().place < each.place);
    sequence.offers.push_back(std::move(each));
  }
  offered_blocks += static_cast<std::uint32_t>(sequence.offers.size());
  return !sequence.offers.empty();
}

void scheduler_core::state::drop_offers(sequence_state& sequence) {
  offered_blocks -= static_cast<std::uint32_t>(sequence.offers.size());
  sequence.offers = {};
}

std::span<const offered_block> scheduler_core::state::offers_from(
    const sequence_state& sequence, std::uint32_t first, std::uint32_t positions_max) const {
  const auto begin = std::ranges::lower_bound(sequence.offers, first, {}, &offered_block::place);
  const transfer_profile predicted = transfers.profile();
  const auto fitting = static_cast<std::uint32_t>(
      std::min<double>(uploads_left, std::max(0.0, transfer_ms_left) / predicted.upload_block_ms));
  const std::uint32_t places_end = positions_max / limits.block_tokens;
  std::uint32_t count = 0;
  for (auto each = begin; each != sequence.offers.end() && count < fitting; ++each, ++count) {
    if (each->place != first + count || each->place >= places_end) break;
  }
  return {begin, blocks_worth_uploading(cost, predicted, limits.block_tokens, first, count)};
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
  transfer_ms_left -= transfers.profile().upload_block_ms * count;
  return uploads;
}

}  // namespace troupe
