#include "runtime/schedule/compose/batch_problem.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "config/limits.hpp"
#include "runtime/memory/block_table.hpp"
#include "runtime/schedule/compose/search_random.hpp"

namespace troupe {
namespace {

constexpr double never = std::numeric_limits<double>::infinity();
/// Of preempted requests, in their order; those of others are their priorities.
constexpr std::int64_t preempted_precedence = std::numeric_limits<std::int64_t>::min();
/// Steps of a smaller running set were hardly measured lately: what they are predicted to cost is
/// off by more than other steps are.
constexpr double doubts_per_error = 2.0;
/// Sets that are not small are bounded in fours: fewer bounds to search.
constexpr std::uint32_t bound_multiple = 4, bounded_in_multiples_min = 16;

prefix_tree tree_of(const async_batch_view& view, std::size_t waiting_count) {
  std::vector<tree_prompt> prompts;
  for (std::size_t i = 0; i < waiting_count; ++i)
    prompts.push_back({*view.waiting[i].prompt, view.waiting[i].tenant_salt});
  for (const async_running& each : view.running)
    prompts.push_back({*each.prompt, each.tenant_salt});
  // Without a prefix cache no block is ever found again: every prompt stands alone.
  if (!view.limits.enable_prefix_caching)
    for (tree_prompt& each : prompts) each.tokens = {};
  return {prompts, view.limits.model_fingerprint, view.limits.block_tokens};
}

}  // namespace

batch_problem::batch_problem(const async_batch_view& view, const async_objective& given_objective,
                             std::uint64_t seed)
    : limits(view.limits),
      cost(view.cost),
      objective(given_objective),
      bound_doubt(doubts_per_error * view.cost_error),
      waiting_count(static_cast<std::uint32_t>(
          std::min<std::size_t>(view.waiting.size(), troupe::limits::composed_requests_max))),
      tree(tree_of(view, waiting_count)),
      cached_blocks(tree.nodes().size(), 0) {
  for (std::uint32_t i = 0; i < waiting_count; ++i) add(view.waiting[i]);
  for (const async_running& each : view.running) add(each);
  for (std::size_t i = 0; i < cached_blocks.size(); ++i)
    first_time_rows +=
        std::uint64_t{tree.nodes()[i].blocks() - cached_blocks[i]} * limits.block_tokens;
  make_room_for_each();
  draw_lengths(view.lengths, seed);
}

void batch_problem::add(const async_waiting& request) {
  const std::uint32_t index = request_count(), tokens = limits.block_tokens;
  prompt_tokens.push_back(static_cast<std::uint32_t>(request.prompt->size()));
  known_tokens.push_back(prompt_tokens.back() + request.output_tokens);
  computed_tokens.push_back(0);
  output_max.push_back(request.max_tokens);
  width.push_back(request.n);
  width_max = std::max(width_max, request.n);
  due_ms.push_back(request.due_in_ms.value_or(never));
  waited_ms.push_back(request.waited_ms);
  priority.push_back(request.priority);
  precedence.push_back(request.preempted ? preempted_precedence + index : request.priority);
  uses_all.push_back(request.uses_all);
  note_cached(index, request.cached_blocks);
  const std::uint32_t shared = path_blocks(index);
  const std::uint32_t most = std::max(shared, (known_tokens.back() - 1) / tokens);
  cached_private.push_back(std::clamp(request.cached_blocks, shared, most) - shared);
  first_time_rows += known_tokens.back() - (shared + cached_private.back()) * tokens;
}

void batch_problem::add(const async_running& request) {
  const std::uint32_t index = request_count(), tokens = limits.block_tokens;
  const auto prompt = static_cast<std::uint32_t>(request.prompt->size());
  const std::uint32_t known = prompt + request.output_tokens;
  const bool decodes = request.missing_tokens == 0;
  prompt_tokens.push_back(prompt);
  known_tokens.push_back(known);
  computed_tokens.push_back(known - (decodes ? 1 : std::min(known, request.missing_tokens)));
  output_max.push_back(request.max_tokens);
  width.push_back(request.n);
  due_ms.push_back(request.due_in_ms.value_or(never));
  waited_ms.push_back(0.0);
  priority.push_back(request.priority);
  uses_all.push_back(request.uses_all);
  note_cached(index, computed_tokens.back() / tokens);
  cached_private.push_back(0);
  if (!decodes)
    first_time_rows += known - std::max(computed_tokens.back(), path_blocks(index) * tokens);
}

void batch_problem::note_cached(std::uint32_t request, std::uint32_t blocks) {
  for (const std::uint32_t node : tree.path_of(request)) {
    const prefix_node& shared = tree.nodes()[node];
    const std::uint32_t end = std::clamp(blocks, shared.block_first, shared.block_end);
    cached_blocks[node] = std::max(cached_blocks[node], end - shared.block_first);
  }
}

std::uint32_t batch_problem::bound_step() const {
  return limits.sequences_max < bounded_in_multiples_min ? 1 : bound_multiple;
}

std::uint32_t batch_problem::bound_near(double sequences) const {
  const double step = bound_step();
  if (sequences + step / 2 > limits.sequences_max) return limits.sequences_max;
  return static_cast<std::uint32_t>(
      std::clamp<double>(std::round(sequences / step) * step, width_max, limits.sequences_max));
}

/// A replay ends only where every request can run alone, as the scheduler makes sure of when it
/// takes one. A view that says otherwise is stretched.
void batch_problem::make_room_for_each() {
  limits.sequences_max = std::max(limits.sequences_max, width_max);
  limits.step_tokens_max = std::max(limits.step_tokens_max, limits.sequences_max);
  const std::uint64_t tokens = limits.block_tokens;
  std::uint64_t held =
      std::accumulate(cached_blocks.begin(), cached_blocks.end(), std::uint64_t{0});
  std::uint64_t largest = 1;
  for (std::uint32_t i = 0; i < request_count(); ++i) {
    const std::uint64_t shared = known_tokens[i] / tokens + 1;
    const std::uint64_t own =
        std::max(output_max[i], known_tokens[i] - prompt_tokens[i]) / tokens + 2;
    largest = std::max(largest, shared + own * width[i]);
    if (i < waiting_count) continue;
    const std::uint32_t full = computed_tokens[i] / limits.block_tokens;
    held += blocks_for(computed_tokens[i], limits.block_tokens) - std::min(full, path_blocks(i));
  }
  limits.block_count = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(
      std::max(held, largest), limits.block_count, std::numeric_limits<std::uint32_t>::max()));
}

/// A Latin square over the quantiles: every request's samples cover its distribution evenly.
void batch_problem::draw_lengths(const output_lengths& of, std::uint64_t seed) {
  lengths.resize(std::size_t{compose_sample_count} * request_count());
  search_random random(seed, search_random::stream::lengths);
  std::array<std::uint32_t, compose_sample_count> strata;
  std::iota(strata.begin(), strata.end(), 0u);
  for (std::uint32_t i = 0; i < request_count(); ++i) {
    const std::uint32_t produced = known_tokens[i] - prompt_tokens[i];
    for (std::uint32_t sample = 0; sample < compose_sample_count; ++sample) {
      std::swap(strata[sample], strata[sample + random.below(compose_sample_count - sample)]);
      const double quantile = (strata[sample] + random.uniform()) / compose_sample_count;
      lengths[std::size_t{sample} * request_count() + i] =
          uses_all[i] ? std::max(1u, output_max[i]) : of.draw(quantile, produced, output_max[i]);
    }
  }
}

}  // namespace troupe
