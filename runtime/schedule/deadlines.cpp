// What is expected of requests: how long their outputs will be, and whether one that has a deadline
// would be done by then. Said at once, before anything is spent on it.
#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {

std::uint32_t scheduler_core::state::output_max(const request_state& request) const {
  return std::min(request.request.params->stopping.max_tokens,
                  limits.max_model_len - request.prompt_count());
}

expected_work scheduler_core::state::expected_work_of(const request_state& request) const {
  const stopping_params& stopping = request.request.params->stopping;
  const std::uint32_t longest = output_max(request);
  expected_work work;
  work.prefill_tokens = request.prompt_count();
  work.sequences = request.unfinished_count;
  for (const sequence_state& sequence : request.sequences) {
    if (sequence.finished) continue;
    const auto made = static_cast<std::uint32_t>(sequence.output.size());
    const std::uint32_t expected =
        stopping.ignore_eos
            ? longest
            : std::max(std::min(stopping.min_tokens, longest),
                       lengths[to_index(request.service())].draw(0.5, made, longest));
    work.output_tokens += expected - std::min(made, expected);
  }
  return work;
}

/// Of a running request.
expected_work scheduler_core::state::work_left(const request_state& request) const {
  expected_work left = expected_work_of(request);
  left.prefill_tokens = request.missing_tokens();
  return left;
}

result<void> scheduler_core::state::check_deadline(const request_state& request) const {
  // Who was promised to go on after a restart is not refused, and nothing is, before steps were
  // measured.
  const bool is_resumed = std::ranges::any_of(
      request.sequences, [](const auto& each) { return each.finished || !each.output.empty(); });
  if (!request.request.deadline || is_resumed || !cost.is_measured()) return {};
  const lane service = request.service();
  std::vector<expected_work> ahead;
  // A VIP takes the place of lower lanes.
  const std::size_t served_first =
      service == lane::vip ? running.end_of(lane::vip) : running.size();
  for (std::size_t i = 0; i < served_first; ++i) ahead.push_back(work_left(running[i]));
  const std::size_t count_max = ahead.size() + troupe::limits::deadline_scan_max;
  for (const lane above : all_lanes) {
    if (above < service) queues.append_work(above, nullptr, count_max, ahead);
  }
  queues.append_work(service, &request, count_max, ahead);
  const double finish_ms =
      expected_finish_ms(cost, ahead, request.expected, limits.max_num_seqs, decode_step_ms);
  const double allowed_ms =
      std::chrono::duration<double, std::milli>(*request.request.deadline - request.request.arrival)
          .count();
  if (finish_ms <= allowed_ms) return {};
  return error{errc::deadline_unmeetable,
               fmt::format("the request is expected to finish after {:.0f} ms, but its deadline is "
                           "{:.0f} ms after its arrival: allow more time, or lower max_tokens",
                           finish_ms, allowed_ms)};
}

void scheduler_core::state::observe_output(const request_state& request,
                                           const sequence_state& sequence) {
  if (request.request.params->stopping.ignore_eos) return;
  lengths[to_index(request.service())].observe(static_cast<std::uint32_t>(sequence.output.size()),
                                               output_max(request));
}

}  // namespace troupe
