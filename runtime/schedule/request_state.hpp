// What the scheduler knows about one request and its sequences. Data with a few questions answered;
// the transitions are in the files of scheduler_state.hpp.
//
// A sequence:  idle --first chunk--> prefill --token drawn--> decode --> finished
//                ^---------------- preempted --------------------+
// A request of n > 1 begins with a shared prompt: sequence 0 carries it, its end draws a token for
// all, and the others fork its block table. After a preemption or a resumption each sequence goes
// its own way.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/memory/block_table.hpp"
#include "runtime/memory/token_view.hpp"
#include "runtime/schedule/admission_order.hpp"
#include "runtime/schedule/finish_estimate.hpp"
#include "runtime/schedule/scheduler_core.hpp"

namespace troupe {

enum class sequence_phase : std::uint8_t {
  idle,     ///< holds no blocks
  prefill,  ///< positions below the last known token are missing
  decode,   ///< exactly one known token is not computed yet
};

/// What a preempted sequence is to come back to, and what the lower tier was asked for it.
struct lost_progress {
  std::uint32_t positions = 0;             ///< whose K and V were written; 0: nothing is lost
  std::uint32_t asked_from = UINT32_MAX;   ///< full blocks that the device had at the last question
  std::optional<monotonic_time> asked_at;  ///< the first question
  bool is_answered = true;                 ///< the last one
};

struct sequence_state {
  std::uint32_t index = 0;
  sequence_phase phase = sequence_phase::idle;
  bool finished =
      false;  ///< ended for its reader; its blocks may live until the step in flight is done
  bool in_flight = false;       ///< the step in flight names its blocks
  monotonic_time planned_at{};  ///< when it was last in a plan to decode, or its request admitted
  std::vector<token_id> output;
  /// Of a VIP's: when its next tokens were first planned one by one, and how many it had then.
  std::optional<monotonic_time> paced_since;
  std::size_t paced_from = 0;
  block_table table;
  std::uint32_t computed_count = 0;   ///< positions whose K and V completed steps have written
  std::uint32_t indexed_count = 0;    ///< leading full blocks that the prefix index names
  std::uint32_t uploaded_count = 0;   ///< blocks behind them that the step in flight uploads
  lost_progress lost;                 ///< while it is idle after a preemption
  std::vector<offered_block> offers;  ///< what a lower tier has of its tokens, by ascending place
  std::optional<std::size_t> draft;   ///< its place in the plan being made
};

struct request_state {
  schedule_request request;
  std::uint64_t order = 0;
  admission_key key;  ///< under which it waits
  running_rank rank;
  /// Async: how many of the lane may have been admitted before it goes first, whatever is composed.
  std::uint64_t admitted_before_max = 0;
  expected_work expected;            ///< of all its sequences, when it was enqueued
  expected_work queued_work;         ///< what it counts for while it waits
  std::uint64_t charged_tokens = 0;  ///< to its tenant, since it was first admitted
  std::uint64_t charge_stay = 0;     ///< of fair_queue::charge(), the last one
  std::uint64_t made_tokens = 0;     ///< output since it was enqueued
  std::vector<sequence_state> sequences;
  std::uint32_t unfinished_count =
      0;  ///< each one takes a place of max_num_seqs while the request runs
  std::uint32_t active_count = 0;  ///< sequences that hold blocks
  bool prompt_shared = false;      ///< sequence 0 computes the prompt for all
  bool running = false;            ///< else it waits, unless ended
  bool started = false;            ///< left the queue at least once
  bool hurried = false;            ///< late for its deadline: its decodes are in every step
  bool ended = false;              ///< no longer known to anybody; kept for the step in flight
  std::uint32_t prompt_rows_scored = 0;  ///< rows whose prompt logprobs were delivered

  [[nodiscard]] request_id id() const { return request.id; }
  [[nodiscard]] lane service() const { return request.service; }
  [[nodiscard]] std::uint32_t prompt_count() const {
    return static_cast<std::uint32_t>(request.prompt->size());
  }
  [[nodiscard]] token_view tokens_of(const sequence_state& sequence) const {
    return {*request.prompt, sequence.output};
  }
  /// True where the sequence has work of its own, now or when it gets blocks.
  [[nodiscard]] bool is_schedulable(const sequence_state& sequence) const {
    return prompt_shared ? sequence.index == 0 : !sequence.finished;
  }
  [[nodiscard]] std::uint64_t used_tokens() const { return prompt_count() + made_tokens; }
  /// The index of the first sequence that has work of its own; there is one.
  [[nodiscard]] std::uint32_t first_schedulable() const {
    const auto first =
        std::ranges::find_if(sequences, [this](const auto& each) { return is_schedulable(each); });
    TROUPE_CHECK(first != sequences.end());
    return first->index;
  }
  /// Whether a prefill of it has begun and is not done, or one is to begin.
  [[nodiscard]] bool has_prompt_work() const {
    return std::ranges::any_of(sequences, [this](const sequence_state& each) {
      return each.phase == sequence_phase::prefill ||
             (each.phase == sequence_phase::idle && is_schedulable(each));
    });
  }
  /// Positions that its prefills have not taken yet.
  [[nodiscard]] std::uint32_t missing_tokens() const {
    std::uint32_t missing = 0;
    for (const auto& sequence : sequences) {
      if (sequence.phase == sequence_phase::prefill)
        missing += tokens_of(sequence).size() - sequence.table.position_count();
    }
    return missing;
  }
  [[nodiscard]] bool has_in_flight() const {
    for (const auto& sequence : sequences) {
      if (sequence.in_flight) return true;
    }
    return false;
  }
  [[nodiscard]] bool wants_prompt_logprobs() const {
    return request.params->sampling.prompt_logprobs.has_value() &&
           prompt_rows_scored + 1 < prompt_count();
  }
};

/// Whose first token is due sooner, of one lane.
inline bool is_due_before(const request_state& left, const request_state& right) {
  return std::pair(left.key.priority, left.key.due) < std::pair(right.key.priority, right.key.due);
}

/// The request as it enters the queue. Errors: invalid_argument, with the numbers, for one that
/// breaks the limits or can never fit into the block pool.
result<request_state> make_request_state(schedule_request request, const scheduler_limits& limits,
                                         std::uint64_t order);

}  // namespace troupe
