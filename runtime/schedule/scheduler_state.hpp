// The inside of scheduler_core, shared by the files that implement it:
//   scheduler_core.cpp  the public calls, cancelling, counts, integrity
//   plan_step.cpp       who is in the next step, and the sealed plan
//   step_parts.cpp      what of it is computed before the rest
//   admission.cpp       starting what waits, within sequences, tokens and blocks
//   reserves.cpp        what lanes are sure of, and whom that lets them displace
//   offers.cpp          blocks to and from the lower tier
//   preemption.cpp      taking blocks back
//   complete_step.cpp   applying a step's result
//   async_order.cpp     what a composer is told, and following its plan
//   tenant_shares.cpp   what tenants are charged
//   deadlines.cpp       what is expected of requests, and whether a deadline can be met
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "runtime/memory/block_pool.hpp"
#include "runtime/memory/prefix_cache.hpp"
#include "runtime/schedule/compose/output_lengths.hpp"
#include "runtime/schedule/cost_model.hpp"
#include "runtime/schedule/lane_loads.hpp"
#include "runtime/schedule/lane_queues.hpp"
#include "runtime/schedule/request_state.hpp"
#include "runtime/schedule/running_requests.hpp"
#include "runtime/schedule/scheduler_core.hpp"

namespace troupe {

struct scheduler_core::state {
  explicit state(scheduler_limits given);
  ~state();

  /// One slice of the plan being made. A preemption may still drop it.
  struct draft {
    request_state* request = nullptr;
    sequence_state* sequence = nullptr;
    std::uint32_t position_first = 0;
    std::uint32_t count = 0;
    std::optional<block_copy> copy;
    std::vector<block_upload> uploads;
    bool dropped = false;
  };
  /// One slice of the step in flight.
  struct sent_slice {
    request_state* request = nullptr;
    sequence_state* sequence = nullptr;
    std::uint32_t count = 0;
    std::uint32_t prompt_rows = 0;  ///< rows whose prompt logprobs were asked for
    mostly_one<std::uint32_t> sampled_indices;
    mostly_one<std::uint32_t> ending_indices;  ///< end here without a token (max_tokens is 0)

    [[nodiscard]] bool ends_prompt() const {
      return sequence->phase == sequence_phase::prefill &&
             (!sampled_indices.empty() || !ending_indices.empty());
    }
  };
  /// Of a sealed step, what is computed behind the part in flight. Its sequences count as in
  /// flight.
  struct step_part {
    std::vector<step_slice> slices;
    std::vector<sent_slice> sent;
    step_shape shape;
  };

  // plan_step.cpp
  planned plan(monotonic_time now);
  /// What the next step may take; nothing where only tokens bound it.
  [[nodiscard]] std::optional<double> duration_limit_ms(bool has_vip, monotonic_time now);
  [[nodiscard]] double vip_step_ms(monotonic_time now);
  [[nodiscard]] bool is_vip_expected(monotonic_time now);
  /// What is left of the step for one lane's decodes.
  struct decode_room {
    bool whole = false;              ///< the lane decodes whole
    double ms_max = 0.0;             ///< of the step, predicted; where the lane does not
    std::uint32_t overdue_left = 0;  ///< sequences held for too long that are served all the same
    bool paused = false;
    bool is_full = false;
  };
  void plan_decodes(lane service, bool is_top, monotonic_time now);
  void plan_decode_of(request_state& request, sequence_state& sequence, decode_room& room,
                      monotonic_time now);
  [[nodiscard]] bool fits_decode(std::uint32_t position, double ms_max) const;
  [[nodiscard]] double share_kept_for_realtime();
  [[nodiscard]] std::uint32_t tokens_kept_for_realtime() const;
  /// Of the lane's prompts that have begun. Of VIPs the one whose first token is due soonest comes
  /// first, those that wait among them: a long prompt does not stand in the way of a short one.
  void continue_prompts(lane service, monotonic_time now, std::vector<request_started>& started);
  void continue_prompts_of(request_state& request, monotonic_time now);
  [[nodiscard]] bool is_prompt_planned(lane service) const;
  /// Whether it has any left to compute, of running requests or of waiting ones.
  [[nodiscard]] bool has_prompts(lane service) const;
  /// Lanes above have kept async's prompts out of steps for longer than anybody stands still.
  [[nodiscard]] bool async_prompts_overdue(monotonic_time now) const;
  /// Once they go first: those that have begun, and of those that wait one, or what
  /// async is sure of.
  void give_async_prompts_turn(monotonic_time now, std::vector<request_started>& started);
  /// Takes the sequence's next `count` tokens into the plan, preempting where blocks lack. False
  /// when the sequence itself was preempted.
  bool schedule(request_state& request, sequence_state& sequence, std::uint32_t count);
  /// Tokens of a prompt that the plan still has room for, from `position_first` on.
  [[nodiscard]] std::uint32_t chunk_for(std::uint32_t position_first, std::uint32_t missing) const;
  [[nodiscard]] step_shape shape_of_drafts() const;
  [[nodiscard]] std::optional<double> fill_ratio() const;
  step_plan seal();
  step_slice make_slice(const draft& sealed);
  [[nodiscard]] sample_directive make_directive(const request_state& request,
                                                const sequence_state& sequence) const;

  // admission.cpp
  /// What of the lane may start; only what goes `before` a request, if one is given.
  void admit(lane service, monotonic_time now, std::vector<request_started>& started,
             const request_state* before = nullptr);
  /// False where it has to wait.
  bool start(request_state& request, monotonic_time now, std::vector<request_started>& started);
  [[nodiscard]] request_state* next_to_admit(lane service, monotonic_time now) const;
  /// False where what was just taken from a request would be handed to its like.
  [[nodiscard]] bool may_start(lane service) const { return !loser || service < *loser; }
  bool make_seats(request_state& request);
  std::optional<std::uint32_t> start_sequence(request_state& request, sequence_state& sequence);
  bool make_room(const request_state& request, std::span<const block_index> hits,
                 std::uint32_t blocks);
  /// Blocks not to be given away to a lane, as the lanes down to `lowest` see it.
  [[nodiscard]] std::uint32_t margin_of(lane lowest) const;
  [[nodiscard]] bool can_ever_make_room(std::size_t kept_requests,
                                        std::span<const block_index> hits,
                                        std::uint32_t blocks_and_margin);

  // reserves.cpp
  enum class resource : std::uint8_t { sequences, blocks };
  /// What the lane is sure of.
  [[nodiscard]] std::uint32_t reserve_of(lane service, resource what) const;
  /// What its running requests hold: a block that several of them share counts once.
  [[nodiscard]] std::uint32_t held_by(lane service, resource what);
  /// Whether the lane would be within its reserve of both with the request.
  [[nodiscard]] bool is_within_reserve(const request_state& request);
  /// Of its first sequence, none of them shared.
  [[nodiscard]] std::uint32_t blocks_to_start(const request_state& request) const;
  /// What lanes below are sure of and do not use although they wait: not lent to a request beyond
  /// its own lane's reserve, unless it could never start beside it.
  [[nodiscard]] std::uint32_t kept_for_others(const request_state& request, resource what);
  /// Whether it is beyond its reserve and could start while the lanes below hold theirs.
  [[nodiscard]] bool leaves_reserves(const request_state& request);
  /// Where the running requests begin that may be preempted for the request, to get `what`.
  [[nodiscard]] std::size_t displaceable_from(const request_state& request, resource what);
  /// The first of the lane's running requests that it may lose: those before it hold its reserve.
  [[nodiscard]] std::size_t spare_from(lane service, resource what);
  /// Marks the request's blocks with mark_epoch; how many had not been.
  std::uint32_t mark_blocks(const request_state& request);

  // offers.cpp
  /// Milliseconds that a plan of this duration may spend on moving blocks.
  [[nodiscard]] double transfer_ms_max() const;
  /// A block is evicted: its bytes go to the lower tier where they are worth it.
  void offload(block_index block, block_key_ptr key);
  /// Sequences that come back next keep what the device has of them longest; those that lack some
  /// of it are named.
  std::vector<sequence_id> prepare_returns(monotonic_time now);
  /// True while an answer of the lower tier is expected soon and the step has other work.
  [[nodiscard]] bool waits_for_blocks(const sequence_state& sequence, monotonic_time now) const;
  bool offer_blocks(request_state& request, sequence_state& sequence,
                    std::vector<offered_block> blocks);
  void drop_offers(sequence_state& sequence);
  /// The run of offers from block `first` on that one step uploads, of the first `positions_max`
  /// positions and never the last token.
  [[nodiscard]] std::span<const offered_block> offers_from(const sequence_state& sequence,
                                                           std::uint32_t first,
                                                           std::uint32_t positions_max) const;
  std::vector<block_upload> take_uploads(sequence_state& sequence,
                                         std::span<const offered_block> offers);

  // step_parts.cpp
  void part(planned& made);
  planned second_part();
  void put_in_flight(planned& made);

  // preemption.cpp
  [[nodiscard]] request_state& last_holder(std::size_t end) const;
  request_state& victim_of_growth(const request_state& request);
  bool preempt_for(request_state& request, sequence_state& sequence);
  void preempt_request(request_state& request);
  void preempt_sequence(request_state& request, sequence_state& sequence);
  void count_return(sequence_state& sequence, std::uint32_t device_tokens,
                    std::uint32_t hit_tokens);
  /// It is preempted no more, or ends: nothing of it is to come back.
  void forget_loss(sequence_state& sequence);

  // complete_step.cpp
  step_outcome complete(const step_result& result);
  void complete_slice(const sent_slice& slice, const slice_result& result, step_outcome& outcome);
  void index_computed(request_state& request, sequence_state& sequence);
  void apply_sampled(const sent_slice& slice, const slice_result& result,
                     std::vector<sampled_token> prompt_logprobs, step_outcome& outcome);
  void finish_unsampled(const sent_slice& slice, std::vector<sampled_token> prompt_logprobs,
                        step_outcome& outcome);
  void append_token(request_state& request, sequence_state& sequence, const sampled_token& token,
                    sequence_update& update);

  // async_order.cpp
  [[nodiscard]] std::optional<async_batch_view> async_view(monotonic_time now) const;
  void apply(const async_plan& plan, monotonic_time now);
  [[nodiscard]] bool is_held_back(const request_state& request, monotonic_time now) const;

  // tenant_shares.cpp
  void charge(request_state& request, std::uint64_t tokens);
  void charge_admission(request_state& request);
  /// It made one token more.
  void charge_token(request_state& request);
  void settle_charge(const request_state& request);

  // deadlines.cpp
  [[nodiscard]] std::uint32_t output_max(const request_state& request) const;  ///< tokens
  /// Its outputs as long as the mean, or as this quantile, of those that went on for as long.
  [[nodiscard]] expected_work expected_work_of(const request_state& request,
                                               std::optional<double> quantile = {}) const;
  [[nodiscard]] expected_work work_left(const request_state& request) const;
  /// Of a waiting request. Error: deadline_unmeetable, with the estimate.
  [[nodiscard]] result<void> check_deadline(const request_state& request, monotonic_time now) const;
  /// Milliseconds that each token of a running request may take for it to be done by its deadline,
  /// with outputs as expected_work_of() says.
  [[nodiscard]] double token_ms_allowed(const request_state& request, monotonic_time now,
                                        std::optional<double> quantile) const;
  /// Finds the running requests that are late for their deadlines, unless it is too late for them:
  /// they decode in every step, which takes no longer than they can wait. False where none is.
  bool hurry_late(monotonic_time now);
  void observe_output(const request_state& request, const sequence_state& sequence);

  // scheduler_core.cpp
  void finish_sequence(request_state& request, sequence_state& sequence);
  /// Takes the request out of everything; what the step in flight names stays until it is done.
  void end_request(request_state& request);
  void release_blocks(request_state& request, sequence_state& sequence);
  void check_integrity() const;

  /// Blocks that a sequence in prefill will still take for the tokens it has.
  [[nodiscard]] std::uint32_t missing_blocks(const request_state& request,
                                             const sequence_state& sequence) const;
  /// Every change of a sequence's phase, tokens or table goes through here, so that the sums per
  /// lane stay right.
  template <class Change>
  void change(request_state& request, sequence_state& sequence, Change&& apply);

  const scheduler_limits limits;
  block_pool pool;
  cost_model cost;
  transfer_cost transfers;
  prefix_cache prefix;
  lane_queues queues;
  running_requests running;
  std::unordered_map<request_id, std::unique_ptr<request_state>> requests;
  std::vector<std::unique_ptr<request_state>> ending;  ///< ended while a step was in flight
  std::array<std::uint32_t, lane_count>
      active_sequences{};  ///< that hold blocks, ended ones included
  std::array<std::uint32_t, lane_count> committed_blocks{};  ///< sum of missing_blocks()

  // The plan being made.
  std::vector<draft> drafts;
  step_shape drafted;  ///< of the drafts, each with a row of logits
  std::uint32_t tokens_left = 0;
  std::uint32_t tokens_kept = 0;      ///< of them, from the prompts of the lane being planned
  double realtime_share = 0.0;        ///< of the step, while VIPs hold more than their own
  std::optional<double> step_ms_max;  ///< predicted; nothing: tokens alone bound the plan
  std::uint32_t starts_left = 0;
  std::uint32_t uploads_left = 0;
  double transfer_ms_left = 0.0;  ///< predicted, of both ways
  std::optional<lane> loser;      ///< the most important lane that was preempted in this plan
  bool vip_prompt_planned = false;
  /// There is async work only, and some of it is late: the rest has what that leaves of the step.
  bool async_makes_way = false;
  std::uint32_t prompt_tokens_min = 0;  ///< of a lane's prompts in the step, whatever it takes
  bool aged_waits = false;  ///< the async request that takes realtime's turn found no room
  std::uint32_t held_sequences = 0;
  /// Who may still start once a request had to wait: nothing behind it overtakes it, but for what
  /// lanes below are sure of, where it would take that too.
  enum class admission : std::uint8_t { open, reserves, closed };
  admission admitted = admission::open;

  std::vector<block_offload> offloads;  ///< evicted since the last sealed plan; bytes still there
  /// A sequence that was preempted and has not come back.
  struct returning {
    request_state* request = nullptr;
    sequence_state* sequence = nullptr;
  };
  std::vector<returning> lost;  ///< in no order; empty without a lower tier

  std::optional<monotonic_time> vip_seen;  ///< when a VIP last waited or ran
  struct turn {
    running_rank rank;
    std::uint32_t sequence = 0;
  };
  std::optional<turn> next_turn;                 ///< the first of realtime's that was left out
  std::uint64_t async_admitted = 0;              ///< since start
  std::vector<request_id> composed_order;        ///< of the plan that is followed
  std::uint32_t async_running_max = UINT32_MAX;  ///< sequences, until async_held_until
  monotonic_time async_held_until{};
  std::optional<monotonic_time> async_prompts_at;  ///< computed of one then, or had none
  std::uint32_t starts_since_aged = 0;             ///< admissions since an aged async request's

  double decode_step_ms = 0.0;  ///< recent mean of steps that decode; 0 before the first
  std::optional<step_id> in_flight;
  step_shape shape_in_flight;
  std::vector<sent_slice> sent;
  std::optional<step_part> part_behind;
  double step_ms = 0.0;  ///< of the step in flight, the parts that were completed
  std::uint32_t offloads_in_flight = 0, uploads_in_flight = 0;

  std::array<output_lengths, lane_count> lengths{};  ///< of what ended
  lane_loads loads;                                  ///< of what was taken

  std::uint64_t next_step = 1;
  std::uint64_t next_order = 0;
  std::uint64_t preemptions = 0;
  std::array<std::uint64_t, preemption_kind_count> preemptions_by_kind{};
  std::uint64_t recomputed_tokens = 0;
  std::uint64_t prefix_query_tokens = 0, prefix_hit_tokens = 0;
  std::uint64_t offloaded_blocks = 0, uploaded_blocks = 0, dropped_blocks = 0;
  std::uint32_t offered_blocks = 0;  ///< sum of all sequences' offers
  std::vector<std::uint32_t> marks;  ///< for each block; equal to mark_epoch: seen
  std::uint32_t mark_epoch = 0;
};

template <class Change>
void scheduler_core::state::change(request_state& request, sequence_state& sequence,
                                   Change&& apply) {
  const std::size_t place = to_index(request.service());
  const bool was_active = sequence.phase != sequence_phase::idle;
  const std::uint32_t missing_before = missing_blocks(request, sequence);
  apply();
  const bool is_active = sequence.phase != sequence_phase::idle;
  if (is_active != was_active) {
    active_sequences[place] += is_active ? 1u : ~0u;
    request.active_count += is_active ? 1u : ~0u;
  }
  committed_blocks[place] += missing_blocks(request, sequence) - missing_before;
}

}  // namespace troupe
