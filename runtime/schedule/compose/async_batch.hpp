// What the composer of asynchronous batches is told and what it answers: the waiting and running
// requests of the async lane at one moment, what the machine has for them, and the order to admit
// the waiting ones in. Plain data that one thread hands to another: prompts are shared, times count
// from the moment of the view.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "runtime/schedule/compose/output_lengths.hpp"
#include "runtime/schedule/cost_model.hpp"
#include "runtime/schedule/step.hpp"

namespace troupe {

using prompt_ptr = std::shared_ptr<const std::vector<token_id>>;

struct async_waiting {
  request_id id{};
  prompt_ptr prompt;  ///< of a preempted request too: what it generated follows it
  std::uint64_t tenant_salt = 0;
  std::uint32_t output_tokens = 0;  ///< generated before a preemption; 0 for a new one
  std::uint32_t max_tokens = 0;     ///< output at most, what was generated included
  std::uint32_t n = 1;              ///< unfinished sequences
  std::int32_t priority = 0;        ///< lower ones go first, whatever the plan gains otherwise
  bool preempted = false;           ///< goes before all that were not, in the order of the view
  bool uses_all = false;            ///< of max_tokens: no end of text is heeded
  double waited_ms = 0.0;
  std::optional<double> due_in_ms;  ///< negative: overdue
  std::uint32_t cached_blocks = 0;  ///< leading blocks of the prompt that the device has
};

struct async_running {
  prompt_ptr prompt;
  std::uint64_t tenant_salt = 0;
  std::uint32_t output_tokens = 0;
  std::uint32_t max_tokens = 0;
  std::uint32_t n = 1;
  std::int32_t priority = 0;
  bool uses_all = false;
  std::uint32_t missing_tokens = 0;  ///< of the prompt, not computed yet
  std::optional<double> due_in_ms;
};

/// What the async lane may take.
struct async_limits {
  std::uint32_t sequences_max = 1;  ///< seats, those of `running` included
  std::uint32_t block_count = 0;    ///< blocks, those of `running` and cached ones included
  std::uint32_t block_tokens = 16;
  std::uint32_t step_tokens_max = 4096;
  std::uint32_t starts_max = 32;  ///< requests that may start their prefill in one step
  double step_ms_max = 0.0;       ///< that a step is filled up to; 0: tokens alone bound it
  std::uint64_t model_fingerprint = 0;
  bool enable_prefix_caching = true;
};

struct async_batch_view {
  /// By arrival, behind the preempted ones; those beyond composed_requests_max are left out.
  std::vector<async_waiting> waiting;
  std::vector<async_running> running;      ///< by importance, the first to be preempted last
  std::vector<request_id> previous_order;  ///< of the plan before, to be improved on; may be empty
  std::uint32_t previous_running_max = UINT32_MAX;  ///< its bound
  async_limits limits;
  cost_profile cost;
  double cost_error = 0.0;  ///< of the profile's predictions, as a share (cost_model::error)
  output_lengths lengths;   ///< what is known of how much of max_tokens requests use
};

/// How a plan's predictions count, all in milliseconds of the machine.
struct async_objective {
  double makespan = 1.0;    ///< for each ms until everything has ended
  double tardiness = 1.0;   ///< for each ms that each request ends after its deadline
  double recomputed = 1.0;  ///< for each ms spent on positions that had been computed before
};

/// Orders that the search begins with; a plan is never predicted worse than any of them.
enum class seed_order : std::uint8_t {
  fifo,
  longest_first,
  shortest_first,
  earliest_deadline,
  longest_prefix,        ///< longest shared prefix first, its requests together
  depth_first_deadline,  ///< prefixes depth first, each when its most urgent request is due
};
inline constexpr std::array all_seed_orders{
    seed_order::fifo,           seed_order::longest_first,
    seed_order::shortest_first, seed_order::earliest_deadline,
    seed_order::longest_prefix, seed_order::depth_first_deadline};

constexpr std::string_view to_string(seed_order value) noexcept {
  switch (value) {
    case seed_order::fifo: return "fifo";
    case seed_order::longest_first: return "longest_first";
    case seed_order::shortest_first: return "shortest_first";
    case seed_order::earliest_deadline: return "earliest_deadline";
    case seed_order::longest_prefix: return "longest_prefix";
    case seed_order::depth_first_deadline: return "depth_first_deadline";
  }
  return "fifo";
}

struct async_plan {
  std::vector<request_id> order;  ///< every waiting request once, the first to be admitted first
  /// Sequences that shall run at once; UINT32_MAX: as many as can.
  std::uint32_t running_max = UINT32_MAX;
  /// Predicted, mean over sampled output lengths, a smaller running set's doubt included; 0 where
  /// nothing waits.
  double objective_ms = 0.0;
  std::array<double, all_seed_orders.size()> seed_objective_ms{};
  double previous_objective_ms = 0.0;  ///< of the plan before, or FIFO's where there was none
  std::uint64_t replays = 0;           ///< predictions of one order for one sample that were made

  /// How much less than FIFO this is predicted to cost, as a share of FIFO's.
  [[nodiscard]] double improvement_ratio() const {
    const double fifo = seed_objective_ms[0];
    return fifo > 0.0 ? 1.0 - objective_ms / fifo : 0.0;
  }
  /// How much less than the plan before it.
  [[nodiscard]] double search_gain_ms() const { return previous_objective_ms - objective_ms; }
};

}  // namespace troupe
