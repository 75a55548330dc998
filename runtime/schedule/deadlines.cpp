// What is expected of requests: how long their outputs will be, and whether one that has a deadline
// would be done by then. Said at once, before anything is spent on it; and what was taken is
// hurried when it gets late.
#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {
namespace {

/// Of outputs: what a request is hurried for, so that it is not too late when it is a long one.
constexpr double long_output = 0.9;
/// Of the time that a late request has for a token, what a step may be predicted to take: the rest
/// is for what passes between steps, and for predictions that were too low.
constexpr double late_step_share = 0.9;

}  // namespace

std::uint32_t scheduler_core::state::output_max(const request_state& request) const {
  return std::min(request.request.params->stopping.max_tokens,
                  limits.max_model_len - request.prompt_count());
}

expected_work scheduler_core::state::expected_work_of(const request_state& request,
                                                      std::optional<double> quantile) const {
  const stopping_params& stopping = request.request.params->stopping;
  const std::uint32_t longest = output_max(request);
  const output_lengths& seen = lengths[to_index(request.service())];
  expected_work work;
  work.prefill_tokens = request.prompt_count();
  work.sequences = request.unfinished_count;
  for (const sequence_state& sequence : request.sequences) {
    if (sequence.finished) continue;
    const auto made = static_cast<std::uint32_t>(sequence.output.size());
    std::uint32_t expected = longest;
    if (!stopping.ignore_eos) {
      const std::uint32_t usual =
          quantile ? seen.draw(*quantile, made, longest) : seen.mean(made, longest);
      expected = std::max(std::min(stopping.min_tokens, longest), usual);
    }
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

result<void> scheduler_core::state::check_deadline(const request_state& request,
                                                   monotonic_time now) const {
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
  // What lanes above leave, and at least this lane's turns as the oldest.
  const double share =
      std::max(1.0 - loads.above(service, now), 1.0 / troupe::limits::aged_start_stride);
  const double finish_ms =
      to_ms(now - request.request.arrival) + expected_finish_ms(cost,
                                                                {.ahead = ahead,
                                                                 .seqs_max = limits.max_num_seqs,
                                                                 .step_ms_seen = decode_step_ms,
                                                                 .share = share},
                                                                request.expected);
  const double allowed_ms = to_ms(*request.request.deadline - request.request.arrival);
  if (finish_ms <= allowed_ms) return {};
  return error{errc::deadline_unmeetable,
               fmt::format("the request is expected to finish after {:.0f} ms, but its deadline is "
                           "{:.0f} ms after its arrival: allow more time, or lower max_tokens",
                           finish_ms, allowed_ms)};
}

double scheduler_core::state::token_ms_allowed(const request_state& request, monotonic_time now,
                                               std::optional<double> quantile) const {
  const expected_work left = expected_work_of(request, quantile);
  // One step more than it needs: in some it is left out.
  const double steps = 1.0 + static_cast<double>(left.output_tokens) / left.sequences;
  return to_ms(*request.request.deadline - now) / steps;
}

bool scheduler_core::state::hurry_late(monotonic_time now) {
  struct late_request {
    request_state* request;
    double token_ms;
  };
  std::vector<late_request> late;
  step_shape alone;
  alone.add(1, 0, 1);
  const double token_ms_min = troupe::limits::late_step_times_min * cost.predict_ms(alone);
  for (std::size_t i = 0; i < running.size(); ++i) {
    request_state& request = running[i];
    request.hurried = false;
    if (!request.request.deadline || request.missing_tokens() != 0) continue;
    const double token_ms = token_ms_allowed(request, now, long_output);
    double gap_ms = decode_step_ms;
    for (const sequence_state& each : request.sequences) {
      if (each.phase == sequence_phase::decode)
        gap_ms = std::max(gap_ms, to_ms(now - each.planned_at));
    }
    if (token_ms < troupe::limits::late_margin * gap_ms &&
        token_ms_allowed(request, now, std::nullopt) >= token_ms_min)
      late.push_back({&request, std::max(token_ms, token_ms_min)});
  }
  const std::size_t count = std::min(late.size(), troupe::limits::late_hurried_max);
  std::ranges::partial_sort(late, late.begin() + static_cast<std::ptrdiff_t>(count), {},
                            &late_request::token_ms);
  for (std::size_t i = 0; i < count; ++i) {
    late[i].request->hurried = true;
    if (step_ms_max) step_ms_max = std::min(*step_ms_max, late_step_share * late[i].token_ms);
  }
  return count != 0;
}

void scheduler_core::state::observe_output(const request_state& request,
                                           const sequence_state& sequence) {
  if (request.request.params->stopping.ignore_eos) return;
  lengths[to_index(request.service())].observe(static_cast<std::uint32_t>(sequence.output.size()),
                                               output_max(request));
}

}  // namespace troupe
