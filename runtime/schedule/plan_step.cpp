// Who is in the next step. Lane by lane: its decodes, its prefills that have begun, and its
// requests that wait. The most important lane that has work decodes whole; the lanes below have
// what is left of the step's predicted duration: realtime takes turns at it, async runs in order,
// and whoever is left out keeps its blocks. While a VIP's prompt is computed, async stands still.
// Nobody stands still for longer than limits::held_ms_max, async's prompts as a whole do not
// either, and who is late for its deadline does not at all (deadlines.cpp): where there is async
// work only, the others have what it leaves. While VIPs hold more than their own share, realtime
// decodes within its share of the step, whatever else is in it.
#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "config/limits.hpp"
#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {

scheduler_core::planned scheduler_core::state::plan(monotonic_time now) {
  TROUPE_CHECK(!in_flight && drafts.empty());
  if (part_behind) return second_part();
  drafted = {};
  tokens_left = limits.max_num_batched_tokens;
  const bool has_vip = is_vip_expected(now);
  step_ms_max = duration_limit_ms(has_vip, now);
  const bool any_late = hurry_late(now);
  starts_left = limits.max_batch_size;
  uploads_left = limits.max_uploads_per_step;
  transfer_ms_left = transfer_ms_max();
  loser.reset();
  held_sequences = 0;
  vip_prompt_planned = aged_waits = false;
  prompt_tokens_min = cost_model::prefill_tokens_min;
  admitted = admission::open;

  planned made;
  made.wanted = prepare_returns(now);
  realtime_share = share_kept_for_realtime();
  const lane top = has_vip                                    ? lane::vip
                   : running.requests_in(lane::realtime) != 0 ? lane::realtime
                                                              : lane::async;
  async_makes_way = any_late && top == lane::async;
  for (const lane service : all_lanes) {
    plan_decodes(service, service <= top, now);
    tokens_kept = service == lane::vip ? tokens_kept_for_realtime() : 0;
    if (service == lane::vip && async_prompts_overdue(now))
      give_async_prompts_turn(now, made.started);
    // A VIP's prompt is in this step: async pauses.
    if (service == lane::async && vip_prompt_planned) break;
    // Beside VIPs and who is late, async's prompts have what is left of a step, and their turn
    // otherwise.
    if (service == lane::async && (has_vip || async_makes_way)) prompt_tokens_min = 0;
    continue_prompts(service, now, made.started);
    admit(service, now, made.started);
    if (service == lane::vip) vip_prompt_planned = is_prompt_planned(lane::vip);
  }
  if (is_prompt_planned(lane::async) || !has_prompts(lane::async)) async_prompts_at = now;
  made.fill = fill_ratio();
  made.plan = seal();
  made.whole = made.shape = shape_of(made.plan);
  made.step_ms_max = step_ms_max;
  if (made.plan.slices.empty()) return made;
  part(made);
  put_in_flight(made);
  return made;
}

std::optional<double> scheduler_core::state::fill_ratio() const {
  if (queues.size() == 0 || drafted.tokens() == 0) return std::nullopt;
  double fill = std::max(1.0 * running.sequence_count() / limits.max_num_seqs,
                         1.0 * drafted.tokens() / limits.max_num_batched_tokens);
  if (step_ms_max) fill = std::max(fill, cost.predict_ms(drafted) / *step_ms_max);
  return fill;
}

/// A VIP waits or runs, or did a moment ago: the next one shall find short steps.
bool scheduler_core::state::is_vip_expected(monotonic_time now) {
  if (running.requests_in(lane::vip) != 0 || queues.size(lane::vip) != 0) vip_seen = now;
  return vip_seen && now - *vip_seen <= std::chrono::milliseconds{troupe::limits::vip_expected_ms};
}

std::optional<double> scheduler_core::state::duration_limit_ms(bool has_vip, monotonic_time now) {
  if (limits.step_ms_max == 0 || !limits.enable_chunked_prefill) return std::nullopt;
  if (has_vip) return vip_step_ms(now);
  // Nobody waits for a token of the next step but the request itself.
  return limits.step_ms_max *
         (requests.size() == 1 ? static_cast<double>(troupe::limits::lone_prompt_steps) : 1.0);
}

/// Of the step. A VIP within its reserve waits for nobody's tokens.
double scheduler_core::state::share_kept_for_realtime() {
  const double fraction = limits.lanes[to_index(lane::realtime)].reserved_fraction;
  if (fraction == 0.0 || running.requests_in(lane::realtime) == 0) return 0.0;
  const bool is_beyond = std::ranges::any_of(
      std::array{resource::sequences, resource::blocks},
      [this](resource what) { return held_by(lane::vip, what) > reserve_of(lane::vip, what); });
  return is_beyond ? fraction : 0.0;
}

std::uint32_t scheduler_core::state::tokens_kept_for_realtime() const {
  return std::min(running.sequences_in(lane::realtime),
                  static_cast<std::uint32_t>(realtime_share * limits.max_num_batched_tokens));
}

void scheduler_core::state::plan_decodes(lane service, bool is_top, monotonic_time now) {
  const bool makes_way = service == lane::async && async_makes_way;
  decode_room room{.whole = (is_top && !makes_way) || !step_ms_max,
                   .ms_max = step_ms_max.value_or(0.0),
                   .overdue_left = troupe::limits::held_served_max};
  if (service == lane::realtime)
    room.ms_max = std::max(room.ms_max, cost.predict_ms(drafted) / (1.0 - realtime_share));
  room.paused = service == lane::async && vip_prompt_planned;
  const std::size_t first = running.first_of(service);
  std::size_t start = first;
  std::uint32_t sequence_first = 0;
  if (service == lane::realtime && next_turn) {
    start = std::clamp(running.lower_bound(next_turn->rank), first, running.end_of(service));
    if (start != running.end_of(service) && running[start].rank == next_turn->rank)
      sequence_first = next_turn->sequence;
  }
  next_turn = service == lane::realtime ? std::nullopt : next_turn;
  // Preemption removes only requests at or behind the one being planned, so that an index stays
  // valid; where it was this one, its successor has moved to its place.
  const auto plan_range = [&](std::size_t from, std::size_t end, bool only_hurried) {
    for (std::size_t i = from; i < std::min(end, running.end_of(service));) {
      request_state& request = running[i];
      if (only_hurried && !request.hurried) {
        ++i;
        continue;
      }
      for (sequence_state& sequence : request.sequences) {
        if (i != start || sequence.index >= sequence_first)
          plan_decode_of(request, sequence, room, now);
      }
      if (running.holds(i, request)) ++i;
    }
  };
  // Async's tokens are promised to nobody but those who are late.
  if (makes_way) plan_range(first, running.size(), true);
  plan_range(start, running.size(), false);
  plan_range(first, start, false);
  // The turn comes round to the sequences before the one that it began with.
  if (sequence_first == 0 || start >= running.end_of(service)) return;
  request_state& request = running[start];
  for (std::uint32_t i = 0; i < std::min<std::size_t>(sequence_first, request.sequences.size());
       ++i)
    plan_decode_of(request, request.sequences[i], room, now);
}

void scheduler_core::state::plan_decode_of(request_state& request, sequence_state& sequence,
                                           decode_room& room, monotonic_time now) {
  if (!request.running || tokens_left == 0) return;
  if (sequence.phase != sequence_phase::decode || sequence.draft) return;
  const bool fits = room.whole || (!room.paused && !room.is_full &&
                                   fits_decode(sequence.table.position_count(), room.ms_max));
  const bool is_overdue =
      now - sequence.planned_at > std::chrono::milliseconds{troupe::limits::held_ms_max};
  if (!fits && !request.hurried && !(is_overdue && room.overdue_left != 0)) {
    room.is_full = true;
    ++held_sequences;
    if (request.service() == lane::realtime && !next_turn)
      next_turn = turn{request.rank, sequence.index};
    return;
  }
  if (!fits && !request.hurried) --room.overdue_left;
  schedule(request, sequence, 1);
  sequence.planned_at = now;
}

bool scheduler_core::state::fits_decode(std::uint32_t position, double ms_max) const {
  if (drafted.tokens() == 0) return true;
  step_shape with = drafted;
  with.add(1, position, 1);
  return cost.predict_ms(with) <= ms_max;
}

void scheduler_core::state::continue_prompts(lane service, monotonic_time now,
                                             std::vector<request_started>& started) {
  std::vector<request_state*> begun;
  for (std::size_t i = running.first_of(service); i < running.end_of(service); ++i) {
    if (running[i].has_prompt_work()) begun.push_back(&running[i]);
  }
  if (service == lane::vip) {
    std::ranges::stable_sort(
        begun, [](const auto* left, const auto* right) { return is_due_before(*left, *right); });
  }
  for (request_state* request : begun) {
    if (service == lane::vip) admit(service, now, started, request);
    if (request->running) continue_prompts_of(*request, now);
  }
}

bool scheduler_core::state::is_prompt_planned(lane service) const {
  return std::ranges::any_of(drafts, [service](const draft& each) {
    return !each.dropped && each.request->service() == service &&
           each.sequence->phase == sequence_phase::prefill;
  });
}

bool scheduler_core::state::has_prompts(lane service) const {
  if (queues.size(service) != 0) return true;
  for (std::size_t i = running.first_of(service); i < running.end_of(service); ++i) {
    if (running[i].has_prompt_work()) return true;
  }
  return false;
}

bool scheduler_core::state::async_prompts_overdue(monotonic_time now) const {
  return async_prompts_at &&
         now - *async_prompts_at > std::chrono::milliseconds{troupe::limits::held_ms_max};
}

void scheduler_core::state::give_async_prompts_turn(monotonic_time now,
                                                    std::vector<request_started>& started) {
  continue_prompts(lane::async, now, started);
  for (;;) {
    request_state* const next = next_to_admit(lane::async, now);
    const bool may_enter =
        next != nullptr && (running.requests_in(lane::async) == 0 || is_within_reserve(*next));
    if (!may_enter || !start(*next, now, started)) break;
  }
  // What async finds no room for holds back nobody.
  admitted = admission::open;
}

void scheduler_core::state::continue_prompts_of(request_state& request, monotonic_time now) {
  bool has_prefill = false;
  for (sequence_state& sequence : request.sequences) {
    if (!request.running) return;
    if (sequence.phase == sequence_phase::prefill && !sequence.draft) {
      const std::uint32_t first = sequence.table.position_count();
      const std::uint32_t chunk = chunk_for(first, request.tokens_of(sequence).size() - first);
      if (chunk == 0) admitted = admission::closed;
      if (chunk != 0) schedule(request, sequence, chunk);
    } else if (sequence.phase == sequence_phase::idle && request.is_schedulable(sequence)) {
      // With the prefix cache, siblings wait for the one in prefill: they will find its blocks.
      if (has_prefill && limits.enable_prefix_caching) continue;
      if (!may_start(request.service()) || waits_for_blocks(sequence, now) ||
          !start_sequence(request, sequence))
        admitted = admission::closed;
    }
    has_prefill = has_prefill || sequence.phase == sequence_phase::prefill;
  }
}

std::uint32_t scheduler_core::state::chunk_for(std::uint32_t position_first,
                                               std::uint32_t missing) const {
  if (!limits.enable_chunked_prefill) return missing <= tokens_left ? missing : 0;
  const std::uint32_t fitting = std::min(missing, tokens_left - std::min(tokens_left, tokens_kept));
  if (!step_ms_max) return fitting;
  // An empty step takes the least in any case, as it takes a decode.
  const std::uint32_t least =
      drafted.tokens() == 0 ? cost_model::prefill_tokens_min : prompt_tokens_min;
  return std::min(fitting,
                  cost.prefill_tokens_within(*step_ms_max, drafted, position_first, least));
}

step_shape scheduler_core::state::shape_of_drafts() const {
  step_shape shape;
  for (const draft& each : drafts) {
    if (!each.dropped) shape.add(each.count, each.position_first, 1);
  }
  return shape;
}

bool scheduler_core::state::schedule(request_state& request, sequence_state& sequence,
                                     std::uint32_t count) {
  TROUPE_CHECK(count != 0 && count <= tokens_left && !sequence.draft);
  for (;;) {
    if (sequence.table.blocks_to_append(pool, count) <= pool.available()) break;
    if (!preempt_for(request, sequence)) return false;
  }
  const std::uint32_t first = sequence.table.position_count();
  std::optional<block_copy> copy;
  change(request, sequence, [&] { copy = std::move(sequence.table.append(pool, count)).value(); });
  sequence.draft = drafts.size();
  drafts.push_back({&request, &sequence, first, count, copy, {}, false});
  drafted.add(count, first, 1);
  tokens_left -= count;
  return true;
}

step_plan scheduler_core::state::seal() {
  step_plan plan;
  plan.slices.reserve(drafts.size());
  sent.clear();
  sent.reserve(drafts.size());
  for (draft& each : drafts) {
    if (each.dropped) continue;
    std::ranges::move(each.uploads, std::back_inserter(plan.uploads));
    if (each.copy) {
      // A sibling that shared the source still holds it: had all been preempted, so had this one.
      // So the copies of a plan may run in any order.
      TROUPE_CHECK(pool.reference_count(each.copy->from) != 0);
      plan.copies.push_back(*each.copy);
    }
    plan.slices.push_back(make_slice(each));
    each.sequence->draft.reset();
    each.sequence->in_flight = true;
  }
  drafts.clear();
  if (plan.slices.empty()) return plan;
  offloaded_blocks += offloads.size();
  uploaded_blocks += plan.uploads.size();
  uploads_in_flight = static_cast<std::uint32_t>(plan.uploads.size());
  plan.offloads = std::exchange(offloads, {});
  offloads_in_flight = static_cast<std::uint32_t>(plan.offloads.size());
  return plan;
}

namespace {

/// The sequences that go on where this one's slice ends: all of them while they share the prompt.
mostly_one<std::uint32_t> indices_behind(const request_state& request,
                                         const sequence_state& sequence) {
  if (!request.prompt_shared) return {sequence.index};
  mostly_one<std::uint32_t> indices;
  std::uint32_t* next = indices.resize_only(request.unfinished_count);
  for (const auto& each : request.sequences) {
    if (!each.finished) *next++ = each.index;
  }
  return indices;
}

}  // namespace

step_slice scheduler_core::state::make_slice(const draft& sealed) {
  const request_state& request = *sealed.request;
  const sequence_state& sequence = *sealed.sequence;
  const token_view tokens = request.tokens_of(sequence);
  const std::uint32_t end = sequence.table.position_count();
  const std::uint32_t first = sealed.position_first;
  TROUPE_CHECK(end == first + sealed.count && first == sequence.computed_count &&
               end <= tokens.size());

  sent_slice record{sealed.request, sealed.sequence, sealed.count, 0, {}, {}};
  step_slice slice;
  slice.sequence = {request.id(), sequence.index};
  tokens.copy_to(first, {slice.tokens.resize_only(sealed.count), sealed.count});
  slice.position_first = first;
  slice.block_table.assign(sequence.table.blocks().begin(), sequence.table.blocks().end());

  if (request.wants_prompt_logprobs() && first + 1 < request.prompt_count()) {
    TROUPE_CHECK(first <= request.prompt_rows_scored);
    record.prompt_rows = std::min(end, request.prompt_count() - 1) - first;
    slice.prompt_logprobs = request.request.params->sampling.prompt_logprobs;
    if (end < request.prompt_count()) slice.next_token = tokens[end];
  }
  if (end == tokens.size()) {
    if (request.request.params->stopping.max_tokens == 0) {
      record.ending_indices = indices_behind(request, sequence);
    } else {
      slice.sample = make_directive(request, sequence);
      record.sampled_indices = slice.sample->sequence_indices;
    }
  }
  sent.push_back(std::move(record));
  return slice;
}

sample_directive scheduler_core::state::make_directive(const request_state& request,
                                                       const sequence_state& sequence) const {
  const generation_params& params = *request.request.params;
  const token_view tokens = request.tokens_of(sequence);
  sample_directive sample;
  sample.params = request.request.params;
  sample.sequence_indices = indices_behind(request, sequence);
  sample.forbid_stop_ids = sequence.output.size() < params.stopping.min_tokens;
  sample.prompt_count = request.prompt_count();
  if (params.sampling.needs_history()) sample.history = tokens.copy(0, tokens.size());
  return sample;
}

}  // namespace troupe
