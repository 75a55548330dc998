// What goes into a simulated engine and what comes out, whichever policy it has.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "config/limits.hpp"
#include "runtime/schedule/scheduler_core.hpp"

namespace troupe::simulate {

/// As long as a run may be, where it is more: the run ends there, before nanoseconds do.
inline monotonic_time from_ms(double ms) {
  return monotonic_time(std::llround(std::min(ms, limits::simulated_seconds_max * 1e3) * 1e6));
}
inline const monotonic_time virtual_time_max = from_ms(limits::simulated_seconds_max * 1e3);

struct virtual_request {
  monotonic_time arrival{};  ///< ascending in a workload
  std::uint32_t prompt_tokens = 1;
  std::uint32_t output_tokens = 1;  ///< at least 1
  lane service = lane::realtime;
  std::int32_t priority = 0;
  static constexpr std::uint32_t no_prefix = std::numeric_limits<std::uint32_t>::max();
  std::uint32_t prefix = no_prefix;  ///< requests of one number begin with the same tokens
  std::uint32_t prefix_tokens = 0;   ///< how many, less than prompt_tokens
  monotonic_time allowed{};          ///< from its submission to its deadline; 0: it has none
};

enum class virtual_end : std::uint8_t {
  none,
  completed,
  refused,     ///< the queue was full, or it can never fit
  unmeetable,  ///< refused at its submission: it would end after its deadline
  missed,      ///< ended at its deadline, unfinished
};

struct virtual_outcome {
  monotonic_time submitted{};             ///< its arrival, or when the closed loop sent it
  std::optional<monotonic_time> started;  ///< when it left the queue; nothing: never
  monotonic_time first_token{}, finished{};
  monotonic_time held{};  ///< of its wait, between steps that had room for it
  virtual_end end = virtual_end::none;
};

/// How clients send: at their arrival, and at most so many at once.
struct client_behaviour {
  std::uint32_t concurrency_max = 0;  ///< 0: no bound
  monotonic_time turnaround{};  ///< from a reply's end to the next request of a bounded client
};

/// What lies between clients and the scheduler: sockets, tokenizer, messages.
struct request_path {
  monotonic_time intake{};  ///< from sending a request to the scheduler
  monotonic_time reply{};   ///< from a step's end to the client's having its tokens
};

/// Sums over a run. Times that are weighted are in milliseconds of step.
struct virtual_counts {
  std::uint64_t steps = 0;
  double busy_ms = 0.0;               ///< a step or a start-up runs
  double overhead_ms = 0.0;           ///< of it, what the device neither computes nor loads
  double startup_ms = 0.0;            ///< of it, cold starts
  double useful_ms = 0.0;             ///< of it, shares of steps whose rows somebody wanted
  std::uint64_t rows = 0;             ///< token positions computed
  std::uint64_t padding_rows = 0;     ///< of them, for nobody: padding of prompts and of batches
  std::uint64_t recomputed_rows = 0;  ///< of them, a second time after a preemption
  double seat_ms = 0.0;               ///< sum of (sequences x step): batch fill times max_num_seqs
  double kv_reserved = 0.0;           ///< sum of (positions held x step)
  double kv_written = 0.0;            ///< sum of (positions that hold something x step)
  std::uint64_t preemptions = 0;
  std::uint64_t prefix_query_tokens = 0, prefix_hit_tokens = 0;
  std::uint32_t seats = 0;  ///< sequences that one step can hold
};

/// What is going on after a step, for whoever draws it.
struct virtual_moment {
  monotonic_time now{};
  std::uint32_t waiting = 0, running = 0;
  double kv_share = 0.0;  ///< of the cache that is held
};
using moment_observer = std::function<void(const virtual_moment&)>;

struct virtual_result {
  std::vector<virtual_outcome> outcomes;  ///< one for each request, in their order
  /// Of each lane's waiting requests: by how much the latest of its lane that went before one of
  /// them came after it.
  std::array<monotonic_time, lane_count> overtaken_by_max{};
  virtual_counts counts;
  monotonic_time end{};        ///< when the last request ended
  bool is_unfinished = false;  ///< stopped at virtual_time_max
  bool is_streamed = true;     ///< false: replies come whole, so that there is no TPOT
};

}  // namespace troupe::simulate
