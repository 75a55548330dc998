// The async lane and the composer of its batches: what the composer is told, and how its plan is
// followed. The search itself is runtime/schedule/compose.
#include <algorithm>

#include "config/limits.hpp"
#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {
namespace {

std::optional<double> due_in_ms(const request_state& request, monotonic_time now) {
  const auto due = request.request.ordered_by();
  if (!due) return std::nullopt;
  return to_ms(*due - now);
}

std::span<const token_id> longest_output(const request_state& request) {
  const auto length = [](const sequence_state& sequence) { return sequence.output.size(); };
  return std::ranges::max_element(request.sequences, {}, length)->output;
}

std::uint32_t output_count(const request_state& request) {
  return static_cast<std::uint32_t>(longest_output(request).size());
}

}  // namespace

std::optional<async_batch_view> scheduler_core::state::async_view(monotonic_time now) const {
  const std::uint32_t others =
      running.sequences_in(lane::vip) + running.sequences_in(lane::realtime);
  const std::uint32_t seats = limits.max_num_seqs - others;
  // Twice what can run: seats where those bind, else what runs now.
  const std::uint32_t can_run = std::min(seats, std::max(1u, running.sequences_in(lane::async)));
  if (queues.size(lane::async) <= 2 * can_run || !running.requests_in(lane::async))
    return std::nullopt;

  async_batch_view view;
  view.waiting.reserve(std::min(queues.size(lane::async), limits.composed_requests_max));
  std::size_t preempted_count = 0;  // they are the first
  for (const request_state* request : queues.first(lane::async, limits.composed_requests_max)) {
    if (!request->key.fresh) ++preempted_count;
    const schedule_request& asked = request->request;
    view.waiting.push_back({.id = asked.id,
                            .prompt = asked.prompt,
                            .tenant_salt = asked.tenant_salt,
                            .output_tokens = output_count(*request),
                            .max_tokens = output_max(*request),
                            .n = request->unfinished_count,
                            .priority = asked.priority,
                            .preempted = !request->key.fresh,
                            .uses_all = asked.params->stopping.ignore_eos,
                            .waited_ms = to_ms(now - asked.arrival),
                            .due_in_ms = due_in_ms(*request, now),
                            .cached_blocks = 0});
    if (!limits.enable_prefix_caching) continue;
    const token_view known{*asked.prompt, longest_output(*request)};
    view.waiting.back().cached_blocks =
        static_cast<std::uint32_t>(prefix.lookup(asked.tenant_salt, known, known.size()).size());
  }
  std::ranges::stable_sort(view.waiting.begin() + static_cast<std::ptrdiff_t>(preempted_count),
                           view.waiting.end(), std::greater{}, &async_waiting::waited_ms);

  std::uint32_t blocks_of_others = 0;
  for (std::size_t i = 0; i < running.size(); ++i) {
    const request_state& request = running[i];
    if (request.service() != lane::async) {
      for (const sequence_state& sequence : request.sequences)
        blocks_of_others += sequence.table.block_count();
      continue;
    }
    view.running.push_back({.prompt = request.request.prompt,
                            .tenant_salt = request.request.tenant_salt,
                            .output_tokens = output_count(request),
                            .max_tokens = output_max(request),
                            .n = request.unfinished_count,
                            .priority = request.request.priority,
                            .uses_all = request.request.params->stopping.ignore_eos,
                            .missing_tokens = request.missing_tokens(),
                            .due_in_ms = due_in_ms(request, now)});
  }
  view.previous_order = composed_order;
  view.previous_running_max = async_running_max;
  view.limits = {.sequences_max = seats,
                 .block_count = pool.total() - std::min(pool.total(), blocks_of_others),
                 .block_tokens = limits.block_tokens,
                 .step_tokens_max = limits.max_num_batched_tokens,
                 .starts_max = limits.max_batch_size,
                 .step_ms_max = static_cast<double>(limits.step_ms_max),
                 .model_fingerprint = limits.model_fingerprint,
                 .enable_prefix_caching = limits.enable_prefix_caching};
  view.cost = cost.profile();
  view.cost_error = cost.error();
  view.lengths = lengths[to_index(lane::async)];
  return view;
}

void scheduler_core::state::apply(const async_plan& plan, monotonic_time now) {
  composed_order = plan.order;
  async_running_max = std::max(plan.running_max, 1u);
  async_held_until = now + limits.lanes[to_index(lane::async)].hold_max;
  for (std::size_t place = 0; place < plan.order.size(); ++place) {
    const auto found = requests.find(plan.order[place]);
    if (found == requests.end()) continue;
    request_state& request = *found->second;
    // What was preempted comes back by its turn, before all that is planned.
    if (request.running || request.service() != lane::async || !request.key.fresh) continue;
    queues.erase(request);
    // Those that were overtaken too often share the first place, in order of arrival.
    const bool first = async_admitted >= request.admitted_before_max;
    request.key.place = first ? 0 : place + 1;
    queues.insert(request);
  }
}

/// Whether the plan that is followed wants fewer of the lane to run than there is room for. Nobody
/// who has waited for hold_max is held for that, however many plans there were.
bool scheduler_core::state::is_held_back(const request_state& request, monotonic_time now) const {
  return request.service() == lane::async && now < async_held_until &&
         now - request.request.arrival < limits.lanes[to_index(lane::async)].hold_max &&
         running.sequences_in(lane::async) != 0 &&
         running.sequences_in(lane::async) + request.unfinished_count > async_running_max;
}

}  // namespace troupe
