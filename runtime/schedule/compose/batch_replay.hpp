// What would happen if the scheduler admitted the waiting requests in a given order: its own policy
// (runtime/schedule: admission, chunked prefill, growth, preemption) as an event-driven model on
// virtual time. A step costs O(1) as long as its requests only decode, and runs of steps without an
// event are one jump; nothing is allocated once a replay has run. virtual_engine runs the policy
// itself, and tests compare the two.
//
// Simplified: the lane is alone, and cached blocks are evicted in runs (replay_blocks.hpp). The n
// sequences of one request are preempted and end together, and a partial block at the prompt's end
// counts once for all of them.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/schedule/compose/replay_blocks.hpp"

namespace troupe {

struct replay_outcome {
  double makespan_ms = 0.0;
  double tardiness_ms = 0.0;          ///< sum over requests
  std::uint64_t recomputed_rows = 0;  ///< rows of prefills for positions that had been computed
  std::uint64_t preemptions = 0;
  double objective_ms = 0.0;
};

class batch_replay {
 public:
  explicit batch_replay(const batch_problem& problem);

  /// order: every waiting request once. running_max: sequences that run at once. sample: which of
  /// the output lengths, below compose_sample_count.
  replay_outcome run(std::span<const std::uint32_t> order, std::uint32_t running_max,
                     std::uint32_t sample);

  // The same in parts: start(), any number of advance(), finish(). What was copied between two of
  // them goes on from there.
  void start(std::span<const std::uint32_t> order, std::uint32_t running_max, std::uint32_t sample);
  /// Until at least so many requests of the order were admitted, or all have ended.
  void advance(std::size_t taken);
  /// Another order, of which the first taken() + 1 requests are the same: of those behind, nothing
  /// has been looked at yet.
  void continue_with(std::span<const std::uint32_t> order);
  replay_outcome finish();
  /// Requests of the order that were admitted.
  [[nodiscard]] std::size_t taken() const { return next_; }

  /// How long after its deadline each request of the last run ended; negative: before it.
  [[nodiscard]] std::span<const float> lateness_ms() const { return lateness_ms_; }

 private:
  enum class phase : std::uint8_t { waiting, prefill, decode, ended };
  /// Rows of one prompt in the step being planned.
  struct chunk {
    std::uint32_t request = 0, rows = 0;
  };
  /// A decode's end, by the count of steps.
  struct ending {
    std::uint64_t step = 0;
    std::uint32_t request = 0;
    auto operator<=>(const ending&) const = default;
  };

  void place_running();
  void step();

  // Planning.
  void grow_decodes();
  void continue_prefills();
  void admit();
  [[nodiscard]] bool try_admit(std::uint32_t request);
  [[nodiscard]] std::uint32_t chunk_for(std::uint32_t position, std::uint32_t missing) const;
  [[nodiscard]] std::uint32_t rows_within(double ms, std::uint32_t position) const;
  void plan_chunk(std::uint32_t request, std::uint32_t rows);
  [[nodiscard]] std::uint32_t margin() const;
  [[nodiscard]] bool make_room(std::uint32_t blocks, std::uint32_t request);

  // Running requests (replayed_requests.cpp).
  void preempt_last();
  void drop_from_step(std::uint32_t request);
  void release(std::uint32_t request);
  void begin_decode(std::uint32_t request);
  void end_decode(std::uint32_t request);
  void end(std::uint32_t request);
  [[nodiscard]] std::int64_t rank_at(std::uint32_t request, std::uint64_t turn) const;
  [[nodiscard]] std::uint32_t position_of(std::uint32_t request) const;
  [[nodiscard]] std::uint32_t missing_blocks(std::uint32_t request) const;
  [[nodiscard]] std::size_t growth_slot(std::uint32_t request) const;

  // Time.
  void complete_chunks();
  void finish_due();
  [[nodiscard]] std::uint64_t growth_behind(std::uint64_t steps) const;
  [[nodiscard]] std::uint64_t quiet_steps() const;
  void decode_on(std::uint64_t steps);
  [[nodiscard]] double step_ms_with(std::uint32_t position, std::uint32_t rows) const;
  [[nodiscard]] double chunk_ms(std::uint32_t position, std::uint32_t rows) const;
  [[nodiscard]] double tiles_ms(std::uint64_t rows) const;
  [[nodiscard]] double decodes_ms() const;

  const batch_problem* problem_;
  const async_limits* limits_;
  replay_blocks blocks_;

  // Of each request.
  std::vector<phase> phases_;
  std::vector<std::int64_t> rank_;       ///< importance: smaller is served first
  std::vector<std::uint32_t> known_;     ///< tokens, generated ones before its prefill included
  std::vector<std::uint32_t> computed_;  ///< positions, while in prefill
  std::vector<std::uint64_t> joined_;    ///< step at which its decodes began
  std::vector<std::uint64_t> ends_;      ///< step after which it ends, while it decodes
  std::vector<float> lateness_ms_;
  std::vector<std::uint32_t> chunk_rows_;  ///< in the step being planned

  std::span<const std::uint32_t> order_, lengths_;
  std::size_t next_ = 0;                   ///< in order_
  std::vector<std::uint32_t> preempted_;   ///< waiting again, by rank
  std::vector<std::uint32_t> running_;     ///< in any order
  std::vector<std::uint32_t> prefilling_;  ///< by rank
  std::vector<ending>
      endings_;  ///< a heap, the soonest first; outdated ones have another step in ends_
  std::vector<std::uint32_t> growth_;  ///< [step % block_tokens]: decodes that then need a block
  std::uint32_t seats_ = 0, seats_taken_ = 0, unfinished_ = 0;
  std::uint32_t active_ = 0;        ///< sequences that hold blocks
  std::uint32_t committed_ = 0;     ///< blocks that prefills which have begun still need
  std::uint32_t decodes_ = 0;       ///< sequences
  std::uint64_t decode_pairs_ = 0;  ///< keys that their next step reads
  std::uint64_t step_count_ = 0;

  // The step being planned.
  std::vector<chunk> chunks_;
  std::uint32_t prefill_rows_ = 0;
  double chunks_ms_ = 0.0;  ///< of its chunks, tiles apart, a row of logits each
  std::uint32_t starts_ = 0;
  bool has_grown_ = false;  ///< its decodes have their blocks
  bool has_preempted_ = false, admission_open_ = true;

  double now_ms_ = 0.0;
  std::uint64_t prefill_rows_sum_ = 0;
  replay_outcome made_;
};

}  // namespace troupe
