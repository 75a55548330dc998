#include "runtime/schedule/scheduler_core.hpp"

#include <utility>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {

result<void> check_limits(const scheduler_limits& limits) {
  const auto check = [](std::string_view name, std::uint64_t value, std::uint64_t least,
                        std::uint64_t most) -> result<void> {
    if (value >= least && value <= most) return {};
    return error{errc::invalid_argument,
                 fmt::format("{} is {}, but must be in {} .. {}", name, value, least, most)};
  };
  constexpr std::uint64_t no_bound = UINT32_MAX;
  TROUPE_TRY_VOID(check("max_model_len", limits.max_model_len, 2, limits::model_len_max));
  TROUPE_TRY_VOID(check("max_num_seqs", limits.max_num_seqs, 1, limits::num_seqs_max));
  TROUPE_TRY_VOID(check("max_batch_size", limits.max_batch_size, 1, no_bound));
  TROUPE_TRY_VOID(
      check("max_num_queued_reqs", limits.max_num_queued_reqs, 1, limits::num_queued_reqs_max));
  TROUPE_TRY_VOID(check("block_tokens", limits.block_tokens, 1, limits::block_tokens_max));
  TROUPE_TRY_VOID(check("block_count", limits.block_count, 1, limits::block_count_max));
  TROUPE_TRY_VOID(check("max_uploads_per_step", limits.max_uploads_per_step, 1, no_bound));
  // A step has to hold one token of every running sequence, and without chunks the longest prompt
  // whole.
  TROUPE_TRY_VOID(check("max_num_batched_tokens", limits.max_num_batched_tokens,
                        limits.max_num_seqs, no_bound));
  if (!limits.enable_chunked_prefill && limits.max_num_batched_tokens < limits.max_model_len)
    return error{
        errc::invalid_argument,
        fmt::format(
            "max_num_batched_tokens is {}, but without enable_chunked_prefill a step must hold a "
            "prompt of max_model_len ({}) tokens: raise it to that, or lower max_model_len",
            limits.max_num_batched_tokens, limits.max_model_len)};
  return {};
}

namespace {

scheduler_limits checked(scheduler_limits limits) {
  check_limits(limits).value();
  return limits;
}

}  // namespace

scheduler_core::state::state(scheduler_limits given)
    : limits(checked(std::move(given))),
      pool(limits.block_count),
      cost(limits.initial_cost),
      transfers(limits.initial_transfer),
      prefix(pool, limits.block_tokens, limits.model_fingerprint),
      marks(limits.block_count, 0) {
  if (!limits.enable_offload) return;
  prefix.on_evicted(
      [this](block_index block, block_key_ptr key) { offload(block, std::move(key)); });
}

scheduler_core::state::~state() {
  for (auto& [id, request] : requests) ending.push_back(std::move(request));
  for (auto& request : ending) {
    for (auto& sequence : request->sequences) sequence.table.release(pool);
  }
}

scheduler_core::scheduler_core(scheduler_limits limits)
    : state_(std::make_unique<state>(std::move(limits))) {}
scheduler_core::~scheduler_core() = default;
scheduler_core::scheduler_core(scheduler_core&&) noexcept = default;

result<void> scheduler_core::enqueue(schedule_request request, monotonic_time now) {
  state& self = *state_;
  if (self.requests.contains(request.id)) {
    return error{errc::already_exists, fmt::format("request {} is known already",
                                                   static_cast<std::uint64_t>(request.id))};
  }
  if (self.queues.size() >= self.limits.max_num_queued_reqs) {
    return error{errc::overloaded,
                 fmt::format("{} requests are waiting (max_num_queued_reqs); retry later",
                             self.queues.size())};
  }
  TROUPE_TRY(auto made, make_request_state(std::move(request), self.limits, self.next_order++));
  made.admitted_before_max =
      self.async_admitted + self.queues.size(lane::async) + limits::passed_over_max;
  made.expected = self.expected_work_of(made);
  auto owned = std::make_unique<request_state>(std::move(made));
  self.queues.insert(*owned);
  if (auto timely = self.check_deadline(*owned, now); !timely) {
    self.queues.erase(*owned);
    return std::move(timely).failure();
  }
  self.loads.observe(owned->service(),
                     engine_ms(self.cost, owned->expected, self.limits.max_num_seqs), now);
  const request_id id = owned->id();
  self.requests.emplace(id, std::move(owned));
  return {};
}

bool scheduler_core::offer_blocks(sequence_id id, std::vector<offered_block> blocks) {
  const auto found = state_->requests.find(id.request);
  return found != state_->requests.end() && id.index < found->second->sequences.size() &&
         state_->offer_blocks(*found->second, found->second->sequences[id.index],
                              std::move(blocks));
}

std::vector<block_key_ptr> scheduler_core::block_keys_of(sequence_id id) const {
  const auto found = state_->requests.find(id.request);
  if (found == state_->requests.end() || id.index >= found->second->sequences.size()) return {};
  const request_state& request = *found->second;
  return troupe::block_keys_of(state_->limits.model_fingerprint, request.request.tenant_salt,
                               request.tokens_of(request.sequences[id.index]),
                               state_->limits.block_tokens);
}

std::uint32_t scheduler_core::cached_prefix_blocks(std::uint64_t tenant_salt,
                                                   const token_view& tokens) const {
  return static_cast<std::uint32_t>(
      state_->prefix.lookup(tenant_salt, tokens, tokens.size()).size());
}

bool scheduler_core::has(request_id id) const {
  return state_->requests.contains(id);
}

bool scheduler_core::cancel(request_id id) {
  const auto found = state_->requests.find(id);
  if (found == state_->requests.end()) return false;
  request_state& request = *found->second;
  for (auto& sequence : request.sequences) {
    if (!sequence.finished) state_->finish_sequence(request, sequence);
  }
  state_->end_request(request);
  return true;
}

bool scheduler_core::stop_sequence(sequence_id id) {
  const auto found = state_->requests.find(id.request);
  if (found == state_->requests.end()) return false;
  request_state& request = *found->second;
  if (id.index >= request.sequences.size() || request.sequences[id.index].finished) return false;
  sequence_state& sequence = request.sequences[id.index];
  state_->finish_sequence(request, sequence);
  if (!request.is_schedulable(sequence)) {
    state_->drop_offers(sequence);
    state_->forget_loss(sequence);
  }
  if (request.unfinished_count == 0) {
    state_->end_request(request);
  } else if (!request.is_schedulable(sequence) && !sequence.in_flight) {
    state_->release_blocks(request, sequence);
  }
  return true;
}

void scheduler_core::state::finish_sequence(request_state& request, sequence_state& sequence) {
  TROUPE_CHECK(!sequence.finished);
  sequence.finished = true;
  --request.unfinished_count;
  if (request.running) running.sequence_finished(request);
}

void scheduler_core::state::end_request(request_state& request) {
  TROUPE_CHECK(!request.ended && request.unfinished_count == 0);
  request.running ? running.erase(request) : queues.erase(request);
  settle_charge(request);
  request.ended = true;
  for (auto sequence = request.sequences.rbegin(); sequence != request.sequences.rend();
       ++sequence) {
    drop_offers(*sequence);
    forget_loss(*sequence);
    if (!sequence->in_flight) release_blocks(request, *sequence);
  }
  const auto found = requests.find(request.id());
  ending.push_back(std::move(found->second));
  requests.erase(found);
  if (!in_flight && !part_behind) ending.clear();
}

void scheduler_core::state::release_blocks(request_state& request, sequence_state& sequence) {
  change(request, sequence, [&] {
    sequence.table.release(pool);
    sequence.phase = sequence_phase::idle;
    sequence.computed_count = 0;
    sequence.indexed_count = 0;
    sequence.uploaded_count = 0;
  });
}

std::uint32_t scheduler_core::state::missing_blocks(const request_state& request,
                                                    const sequence_state& sequence) const {
  if (sequence.phase != sequence_phase::prefill) return 0;
  return blocks_for(request.tokens_of(sequence).size(), limits.block_tokens) -
         sequence.table.block_count();
}

scheduler_core::planned scheduler_core::plan(monotonic_time now) {
  return state_->plan(now);
}

step_outcome scheduler_core::complete(const step_result& result, monotonic_time) {
  return state_->complete(result);
}

std::optional<async_batch_view> scheduler_core::async_view(monotonic_time now) const {
  return state_->async_view(now);
}

void scheduler_core::apply(const async_plan& plan, monotonic_time now) {
  state_->apply(plan, now);
}

bool scheduler_core::has_step_in_flight() const {
  return state_->in_flight.has_value();
}

bool scheduler_core::has_work() const {
  return !state_->requests.empty() || state_->part_behind;
}

scheduler_counts scheduler_core::counts() const {
  const state& self = *state_;
  scheduler_counts counts;
  for (const lane service : all_lanes) {
    counts.waiting[to_index(service)] = self.queues.size(service);
    counts.running[to_index(service)] = self.running.requests_in(service);
  }
  counts.running_sequences = self.running.sequence_count();
  counts.held_sequences = self.held_sequences;
  counts.blocks_total = self.pool.total();
  counts.blocks_free = self.pool.free();
  counts.blocks_cached = self.pool.cached();
  counts.blocks_referenced = self.pool.referenced();
  counts.preemptions = self.preemptions;
  counts.preemptions_by_kind = self.preemptions_by_kind;
  counts.recomputed_tokens = self.recomputed_tokens;
  counts.prefix_query_tokens = self.prefix_query_tokens;
  counts.prefix_hit_tokens = self.prefix_hit_tokens;
  counts.offloaded_blocks = self.offloaded_blocks;
  counts.uploaded_blocks = self.uploaded_blocks;
  counts.dropped_blocks = self.dropped_blocks;
  counts.offered_blocks = self.offered_blocks;
  return counts;
}

const cost_model& scheduler_core::cost() const {
  return state_->cost;
}

transfer_profile scheduler_core::transfers() const {
  return state_->transfers.profile();
}

void scheduler_core::check_integrity() const {
  state_->check_integrity();
}

}  // namespace troupe
