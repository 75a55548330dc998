// A view made ready for many predictions: numbers instead of prompts, one array for each property,
// and the sampled output lengths, which all orders are compared on.
//
// Requests are numbered: the waiting ones as in the view, then the running ones.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/schedule/compose/prefix_tree.hpp"

namespace troupe {

inline constexpr std::uint32_t compose_sample_count = 8;

class batch_problem {
 public:
  batch_problem(const async_batch_view& view, const async_objective& objective, std::uint64_t seed);

  [[nodiscard]] std::uint32_t request_count() const {
    return static_cast<std::uint32_t>(known_tokens.size());
  }
  [[nodiscard]] std::span<const std::uint32_t> lengths_of(std::uint32_t sample) const {
    return std::span(lengths).subspan(std::size_t{sample} * request_count(), request_count());
  }
  /// Blocks of a request that are in nodes.
  [[nodiscard]] std::uint32_t path_blocks(std::uint32_t request) const {
    const auto path = tree.path_of(request);
    return path.empty() ? 0 : tree.nodes()[path.back()].block_end;
  }

  /// Bounds of the running set that are worth a try are multiples of this, and the most.
  [[nodiscard]] std::uint32_t bound_step() const;
  /// The nearest of these.
  [[nodiscard]] std::uint32_t bound_near(double sequences) const;

  async_limits limits;
  cost_profile cost;
  async_objective objective;
  double bound_doubt = 0.0;  ///< what a bounded running set has to gain, as a share
  std::uint32_t waiting_count = 0;
  prefix_tree tree;

  std::vector<std::uint32_t> prompt_tokens;
  std::vector<std::uint32_t> known_tokens;     ///< prompt and what was generated
  std::vector<std::uint32_t> computed_tokens;  ///< of running requests; 0 for waiting ones
  std::vector<std::uint32_t> output_max;
  std::vector<std::uint32_t> width;  ///< sequences
  std::vector<double> due_ms;        ///< infinite: no deadline
  std::vector<double> waited_ms;
  std::vector<std::int32_t> priority;
  std::vector<std::int64_t> precedence;  ///< of waiting ones: smaller go first, whatever is planned
  std::vector<bool> uses_all;            ///< of output_max
  std::vector<std::uint32_t> cached_blocks;   ///< of each node: leading ones on the device
  std::vector<std::uint32_t> cached_private;  ///< of each request: blocks behind its nodes
  std::vector<std::uint32_t> lengths;         ///< [sample][request]: output tokens at its end
  std::uint32_t width_max = 1;                ///< of the waiting
  std::uint64_t first_time_rows = 0;          ///< rows of prompts that somebody has to compute once

 private:
  void add(const async_waiting& request);
  void add(const async_running& request);
  void note_cached(std::uint32_t request, std::uint32_t blocks);
  void make_room_for_each();
  void draw_lengths(const output_lengths& of, std::uint64_t seed);
};

}  // namespace troupe
