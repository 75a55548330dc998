// What must hold between any two calls: every reference of the pool is one entry of one table, the
// index agrees with the tables, and all sums are what a recount gives.
#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {
namespace {

struct recount {
  std::vector<std::uint32_t> references;
  std::array<std::uint32_t, lane_count> active{}, committed{}, waiting{};
  std::size_t offered = 0;
  std::array<expected_work, lane_count> queued{};
};

void check_sequence(const request_state& request, const sequence_state& sequence) {
  const bool idle = sequence.phase == sequence_phase::idle;
  TROUPE_CHECK(idle == sequence.table.blocks().empty());
  TROUPE_CHECK(!sequence.draft);
  TROUPE_CHECK(sequence.table.position_count() <= request.tokens_of(sequence).size());
  if (sequence.in_flight) {
    TROUPE_CHECK(sequence.computed_count < sequence.table.position_count());
  } else {
    TROUPE_CHECK(sequence.computed_count == sequence.table.position_count());
  }
  if (sequence.phase == sequence_phase::decode && !sequence.in_flight) {
    TROUPE_CHECK(sequence.computed_count + 1 == request.tokens_of(sequence).size());
  }
}

}  // namespace

void scheduler_core::state::check_integrity() const {
  pool.check_integrity();
  prefix.check_integrity();
  running.check_integrity();
  queues.check_integrity();
  recount sums;
  sums.references.resize(pool.total(), 0);
  const auto visit = [&](const request_state& request) {
    const std::size_t place = to_index(request.service());
    std::uint32_t active = 0, unfinished = 0;
    for (const auto& sequence : request.sequences) {
      check_sequence(request, sequence);
      const auto blocks = sequence.table.blocks();
      for (const block_index block : blocks) ++sums.references[to_index(block)];
      for (std::uint32_t i = 0; i < sequence.indexed_count; ++i) {
        TROUPE_CHECK(prefix.contains(blocks[i]));
        TROUPE_CHECK(std::ranges::equal(
            prefix.tokens_of(blocks[i]),
            request.tokens_of(sequence).copy(i * limits.block_tokens, limits.block_tokens)));
      }
      TROUPE_CHECK(!limits.enable_prefix_caching ||
                   sequence.indexed_count + sequence.uploaded_count ==
                       sequence.computed_count / limits.block_tokens);
      TROUPE_CHECK(sequence.uploaded_count == 0 || sequence.in_flight);
      active += sequence.phase != sequence_phase::idle ? 1u : 0u;
      unfinished += sequence.finished ? 0u : 1u;
      sums.offered += sequence.offers.size();
      TROUPE_CHECK(sequence.offers.empty() || (!request.ended && request.is_schedulable(sequence)));
      sums.committed[place] += missing_blocks(request, sequence);
    }
    TROUPE_CHECK(active == request.active_count && unfinished == request.unfinished_count);
    sums.active[place] += active;
  };
  for (const auto& [id, request] : requests) {
    TROUPE_CHECK(request->id() == id && !request->ended && request->unfinished_count != 0);
    visit(*request);
    if (request->running) continue;
    TROUPE_CHECK(request->active_count == 0 && queues.contains(*request));
    TROUPE_CHECK(request->key.fresh == (request->charged_tokens == 0));
    ++sums.waiting[to_index(request->service())];
    sums.queued[to_index(request->service())] += request->queued_work;
  }
  TROUPE_CHECK(in_flight || part_behind || ending.empty());
  TROUPE_CHECK(in_flight || sent.empty());
  if (part_behind) {
    for (const sent_slice& each : part_behind->sent) TROUPE_CHECK(each.sequence->in_flight);
  }
  for (const auto& request : ending) {
    TROUPE_CHECK(request->ended && request->unfinished_count == 0);
    visit(*request);
  }
  for (std::uint32_t i = 0; i < pool.total(); ++i) {
    TROUPE_CHECK(sums.references[i] == pool.reference_count(static_cast<block_index>(i)));
  }
  TROUPE_CHECK(sums.offered == offered_blocks && offered_blocks <= limits.block_count);
  TROUPE_CHECK(offloads.empty() || limits.enable_offload);
  for (const returning& each : lost) {
    TROUPE_CHECK(!each.request->ended && each.request->is_schedulable(*each.sequence));
    TROUPE_CHECK(each.sequence->phase == sequence_phase::idle &&
                 each.sequence->lost.positions != 0);
  }
  TROUPE_CHECK(sums.active == active_sequences && sums.committed == committed_blocks);
  for (const lane service : all_lanes) {
    TROUPE_CHECK(sums.waiting[to_index(service)] == queues.size(service));
    TROUPE_CHECK(sums.queued[to_index(service)] == queues.work(service));
  }
  TROUPE_CHECK(running.sequence_count() <= limits.max_num_seqs);
}

}  // namespace troupe
