// The scheduler's policy and state machine: lane queues, admission, continuous batching with
// chunked prefill, block allocation with prefix reuse, preemption by recompute. A plain object:
// time and memory are handed in, no I/O, no threads; the scheduler actor, the simulator and the
// tests run the same one.
//
//   enqueue -> waiting -> running -> finished
//                ^           |
//                +-preempted-+         cancel and stop end a request from any state
//
// The engine drives it: plan() while a step runs or not (at most one step in flight), complete()
// with the step's result, then plan() again.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/limits.hpp"
#include "kernels/base/result.hpp"
#include "runtime/schedule/compose/async_batch.hpp"
#include "runtime/schedule/cost_model.hpp"
#include "runtime/schedule/lane.hpp"
#include "runtime/schedule/step.hpp"
#include "runtime/schedule/transfer_cost.hpp"

namespace troupe {

using monotonic_time = std::chrono::nanoseconds;  ///< since an arbitrary start; handed in

inline double to_ms(monotonic_time time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

enum class finish_reason : std::uint8_t { stop, length, abort, error };

constexpr std::string_view to_string(finish_reason reason) noexcept {
  switch (reason) {
    case finish_reason::stop: return "stop";
    case finish_reason::length: return "length";
    case finish_reason::abort: return "abort";
    case finish_reason::error: return "error";
  }
  return "error";
}

/// What a lane is sure of, and how long its requests may be held back.
struct lane_rules {
  /// Share of the sequences and blocks. What it does not use while nothing of it waits is lent to
  /// the others; it is taken back by preempting those below, and nobody above may take it.
  double reserved_fraction = 0.0;
  /// Requests that are due within this time of each other go by cost; nobody waits longer for that.
  /// 0: by arrival.
  monotonic_time cost_window{};
  /// How long a composed plan may keep requests waiting although the engine has room.
  monotonic_time hold_max{};
  first_token_target first_token;
};

struct scheduler_limits {
  std::uint32_t max_model_len = 2048;
  std::uint32_t max_num_seqs = 256;
  std::uint32_t max_num_batched_tokens = 4096;
  std::uint32_t max_batch_size = 32;         ///< requests that may start their prefill in one step
  std::uint32_t max_num_queued_reqs = 1024;  ///< waiting requests, all lanes together
  std::uint32_t block_tokens = 16;
  std::uint32_t block_count = 0;
  /// Predicted duration that a step is filled up to, and the same while a VIP waits or runs; 0: no
  /// such bound. Whole prompts (without chunked prefill) are not held to it, and a request that is
  /// alone may take limits::lone_prompt_steps times as long.
  std::uint32_t step_ms_max = 0, vip_step_ms_max = 0;
  /// A VIP's promised mean time per token. Steps beside VIPs that are ahead of it may be longer
  /// than vip_step_ms_max, and shorter beside one that is behind; 0: neither.
  std::uint32_t vip_token_ms = 0;
  /// VIP and realtime prompts that end in a step are computed before its other rows where they are
  /// so many tokens and those so many rows: for machines that so many tokens keep busy by
  /// themselves. 0: steps stay whole.
  std::uint32_t first_part_tokens_min = 0;
  std::uint32_t second_part_rows_min = limits::second_part_rows_min;
  std::array<lane_rules, lane_count> lanes{};
  /// Waiting async requests that a composer is told of.
  std::uint32_t composed_requests_max = limits::composed_requests_max;
  cost_profile initial_cost;  ///< what steps are predicted with until some were measured
  bool enable_prefix_caching = true;
  bool enable_chunked_prefill = true;
  bool enable_offload = false;  ///< evicted blocks go to a lower tier, offers come from it
  /// What moving blocks is predicted to take until some were moved. A block is offloaded, and an
  /// offer taken, only where that is less than computing its tokens.
  transfer_profile initial_transfer;
  /// Blocks; bounds how long copying holds a step up, beside limits::transfer_share of its
  /// duration.
  std::uint32_t max_uploads_per_step = 256;
  std::uint64_t model_fingerprint = 0;
  std::vector<token_id> end_of_generation;  ///< ids that end a sequence unless ignore_eos
};

/// Errors: invalid_argument for a setting out of its range, with the name and the range.
/// scheduler_core ends the process on limits that fail this.
result<void> check_limits(const scheduler_limits& limits);

/// A request as the scheduler sees it. Resubmission after a replica's restart carries what was
/// emitted.
struct schedule_request {
  request_id id{};
  lane service = lane::realtime;
  std::int32_t priority = 0;  ///< within a lane; lower first
  std::uint64_t tenant_salt = 0;
  std::uint32_t tenant_index = 0;  ///< takes turns with others in the lane
  double tenant_share = 1.0;       ///< its weight there; above 0
  std::shared_ptr<const std::vector<token_id>> prompt;
  std::shared_ptr<const generation_params> params;
  monotonic_time arrival{};
  std::optional<monotonic_time> deadline;  ///< what is expected to miss it is refused
  std::optional<monotonic_time> due;       ///< when it is wanted; nothing is refused for it
  /// For each sequence the tokens it already generated and whether it already ended; empty for a
  /// new request.
  struct progress {
    std::vector<token_id> output;
    bool finished = false;
  };
  std::vector<progress> resumed;

  /// What it is ordered by: the sooner of both.
  [[nodiscard]] std::optional<monotonic_time> ordered_by() const {
    return deadline && due ? std::min(deadline, due) : deadline ? deadline : due;
  }
};

/// What happened to a sequence in a completed step, in order. None comes for what cancel() or
/// stop_sequence() ended. Prompt rows are delivered once, in order, on sequence 0, past preemptions
/// too; a resumed request without any output delivers them again from the first.
struct sequence_update {
  sequence_id sequence;
  std::optional<sampled_token> token;          ///< drawn in this step
  std::vector<sampled_token> prompt_logprobs;  ///< of this step's prompt rows
  std::optional<finish_reason> finished;
  std::optional<token_id> stop_token;  ///< the id that ended it, if an id did
};

struct request_started {
  request_id id{};
  monotonic_time queued{};          ///< how long it waited
  std::uint32_t cached_tokens = 0;  ///< prompt tokens found in the prefix cache or uploaded
};

struct step_outcome {
  std::vector<sequence_update> updates;
};

/// How a preempted sequence came back.
enum class preemption_kind : std::uint8_t {
  kept,        ///< its full blocks were still on the device
  swapped,     ///< they came from the lower tier
  recomputed,  ///< at least one had to be computed again
};
inline constexpr std::size_t preemption_kind_count = 3;

constexpr std::string_view to_string(preemption_kind kind) noexcept {
  switch (kind) {
    case preemption_kind::kept: return "kept";
    case preemption_kind::swapped: return "swapped";
    case preemption_kind::recomputed: return "recomputed";
  }
  return "recomputed";
}

struct scheduler_counts {
  std::array<std::uint32_t, lane_count> waiting{};
  std::array<std::uint32_t, lane_count> running{};  ///< requests
  std::uint32_t held_sequences = 0;  ///< running ones that the last plan left out, blocks kept
  std::uint32_t running_sequences = 0;
  std::uint32_t blocks_total = 0, blocks_free = 0, blocks_cached = 0, blocks_referenced = 0;
  std::uint64_t preemptions = 0;  ///< since start
  /// Of those sequences that came back since start.
  std::array<std::uint64_t, preemption_kind_count> preemptions_by_kind{};
  std::uint64_t recomputed_tokens = 0;  ///< since start, after preemptions
  std::uint64_t prefix_query_tokens = 0, prefix_hit_tokens = 0;
  std::uint64_t offloaded_blocks = 0, uploaded_blocks = 0;  ///< in sealed plans, since start
  std::uint64_t dropped_blocks = 0;  ///< evicted with the tier on, and not worth their way
  std::uint32_t offered_blocks = 0;  ///< held for requests
};

class scheduler_core {
 public:
  explicit scheduler_core(scheduler_limits limits);
  ~scheduler_core();
  scheduler_core(scheduler_core&&) noexcept;

  /// Errors: overloaded (queue full), invalid_argument (can never fit: says the numbers),
  /// already_exists, deadline_unmeetable (with the estimate).
  result<void> enqueue(schedule_request request, monotonic_time now);

  /// Blocks of the sequence's tokens that the lower tier has, by ascending place, verified by their
  /// keys; an empty answer, too, ends the question of planned::wanted. When the sequence starts,
  /// those that follow what the device has are uploaded instead of computed, where that costs less.
  /// Kept until a step of the sequence completes, at most block_count for all together. False:
  /// nothing was taken (unknown, begun already, no room, or the tier is off).
  bool offer_blocks(sequence_id id, std::vector<offered_block> blocks);
  /// The keys of the sequence's full blocks, generated tokens included; none if it is unknown.
  [[nodiscard]] std::vector<block_key_ptr> block_keys_of(sequence_id id) const;
  /// Full blocks of these tokens that the device has now.
  [[nodiscard]] std::uint32_t cached_prefix_blocks(std::uint64_t tenant_salt,
                                                   const token_view& tokens) const;

  /// Whether it waits or runs here: enqueued and not ended.
  [[nodiscard]] bool has(request_id id) const;

  /// Ends a request in any state; its blocks are free after the step in flight that names them.
  /// False if unknown.
  bool cancel(request_id id);
  /// Ends one sequence (a stop string was seen by the request actor). False if unknown or already
  /// ended.
  bool stop_sequence(sequence_id id);

  struct planned {
    step_plan plan;                        ///< no slices: nothing to do
    std::vector<request_started> started;  ///< requests which left the queue for the first time
    /// How much of the sequences, tokens or predicted duration is used, whichever most; nothing
    /// where nobody waits.
    std::optional<double> fill;
    /// Preempted sequences which come next, at most limits::kv_returns_max, and whose blocks have
    /// left the device: the caller may ask the lower tier for block_keys_of each, and answers with
    /// offer_blocks. Nobody waits for that longer than limits::kv_fetch_ms_max.
    std::vector<sequence_id> wanted;
    step_shape shape;  ///< of the plan
    /// Of the step that the plan begins; no rows where it goes on with one, which nobody joins.
    step_shape whole;
    std::span<const step_slice> behind;  ///< of the step, what the next plan has; valid until then
    /// What the step was filled up to at most; nothing: tokens alone bound it.
    std::optional<double> step_ms_max;
  };
  /// Seals the next step, or goes on with one that is computed in parts. No step may be in flight.
  planned plan(monotonic_time now);
  /// Takes the result of the step in flight.
  step_outcome complete(const step_result& result, monotonic_time now);

  /// What a composer of asynchronous batches is to know; nothing while the lane does not have more
  /// than twice as much waiting as can run, or no engine that is busy.
  [[nodiscard]] std::optional<async_batch_view> async_view(monotonic_time now) const;
  /// Admits what waits in the async lane in the plan's order from now on, what came since behind
  /// it, and no more than plan.running_max sequences of the lane at once, until the lane's hold_max
  /// has passed. Ids that do not wait any more are passed over. A request that
  /// limits::passed_over_max others overtook goes first, in order of arrival.
  void apply(const async_plan& plan, monotonic_time now);

  [[nodiscard]] bool has_step_in_flight() const;
  [[nodiscard]] bool has_work() const;  ///< anything waiting, running or sealed
  [[nodiscard]] scheduler_counts counts() const;
  /// What steps are predicted to take, learned from those that were completed.
  [[nodiscard]] const cost_model& cost() const;
  /// What moving a block is predicted to take.
  [[nodiscard]] transfer_profile transfers() const;
  /// Block conservation and agreement of tables, references and index; ends the process on a
  /// breach.
  void check_integrity() const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace troupe
