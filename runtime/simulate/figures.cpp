#include "runtime/simulate/figures.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace troupe::simulate {
namespace {

double share(double part, double whole) {
  return whole > 0.0 ? part / whole : 0.0;
}

double quantile(const std::vector<double>& ascending, double percent) {
  const double place = percent / 100.0 * static_cast<double>(ascending.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, ascending.size() - 1);
  return std::lerp(ascending[below], ascending[above], place - static_cast<double>(below));
}

/// Gathers one lane's requests, then makes its figures.
class lane_sums {
 public:
  /// `is_streamed`: requests have a TPOT.
  lane_sums(lane_figures& figures, bool is_streamed)
      : figures_(figures), is_streamed_(is_streamed) {}

  void add(const virtual_request& request, const virtual_outcome& outcome,
           const lane_targets& targets) {
    const std::array<std::optional<double>, 3> bounds{ttft_bound(request, targets),
                                                      is_streamed_ ? targets.tpot_ms : std::nullopt,
                                                      targets.e2e_ms};
    bool is_bound = false;
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      bound_[i] += bounds[i] ? 1u : 0u;
      is_bound = is_bound || bounds[i];
    }
    bound_any_ += is_bound ? 1u : 0u;
    add_end(request, outcome);
    if (outcome.end != virtual_end::completed) return;
    figures_.prompt_tokens += request.prompt_tokens;
    figures_.output_tokens += request.output_tokens;
    const double ttft = to_ms(outcome.first_token - outcome.submitted);
    const double e2e = to_ms(outcome.finished - outcome.submitted);
    const bool has_tpot = is_streamed_ && request.output_tokens > 1;
    const double tpot = has_tpot ? (e2e - ttft) / (request.output_tokens - 1) : 0.0;
    ttft_.push_back(ttft);
    e2e_.push_back(e2e);
    if (has_tpot) tpot_.push_back(tpot);
    const double times[] = {ttft, tpot, e2e};
    bool keeps_all = true;
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      const bool keeps = bounds[i] && times[i] <= *bounds[i];
      kept_[i] += keeps ? 1u : 0u;
      keeps_all = keeps_all && (keeps || !bounds[i]);
    }
    kept_all_ += is_bound && keeps_all ? 1u : 0u;
  }

  void finish() {
    figures_.ttft = describe(ttft_);
    figures_.tpot = describe(tpot_);
    figures_.e2e = describe(e2e_);
    figures_.wait = describe(wait_);
    if (!wait_.empty()) figures_.oldest_wait_ms = wait_.back();
    figures_.ttft_kept = part(kept_[0], bound_[0]);
    figures_.tpot_kept = part(kept_[1], bound_[1]);
    figures_.e2e_kept = part(kept_[2], bound_[2]);
    figures_.all_kept = part(kept_all_, bound_any_);
  }

 private:
  void add_end(const virtual_request& request, const virtual_outcome& outcome) {
    switch (outcome.end) {
      case virtual_end::completed:
        ++figures_.completed;
        if (request.allowed != monotonic_time{}) ++figures_.deadlines_met;
        break;
      case virtual_end::unmeetable: ++figures_.deadlines_refused; return;
      case virtual_end::missed: ++figures_.deadlines_missed; break;
      case virtual_end::refused:
      case virtual_end::none: ++figures_.refused; return;
    }
    wait_.push_back(to_ms(outcome.started.value_or(outcome.finished) - outcome.submitted));
    figures_.held_ms_max = std::max(figures_.held_ms_max, to_ms(outcome.held));
  }

  static std::optional<double> part(std::uint64_t kept, std::uint64_t bound) {
    if (bound == 0) return std::nullopt;
    return static_cast<double>(kept) / static_cast<double>(bound);
  }

  /// As the server's own, later for long prompts.
  static std::optional<double> ttft_bound(const virtual_request& request,
                                          const lane_targets& targets) {
    if (!targets.ttft_ms) return std::nullopt;
    return first_token_target{.ms = *targets.ttft_ms}.ms_for(request.prompt_tokens);
  }

  lane_figures& figures_;
  std::vector<double> ttft_, tpot_, e2e_, wait_;
  /// Requests with a bound of TTFT, TPOT, E2E, and of them those that kept it.
  std::array<std::uint64_t, 3> bound_{}, kept_{};
  std::uint64_t bound_any_ = 0, kept_all_ = 0;
  bool is_streamed_;
};

void set_costs(run_figures& figures, double usd_per_hour) {
  const auto count = static_cast<double>(figures.all.completed);
  const auto output = static_cast<double>(figures.all.output_tokens);
  const double tokens = output + static_cast<double>(figures.all.prompt_tokens);
  figures.usd = usd_per_hour * figures.duration_s / 3600.0;
  figures.usd_per_1k_tokens = share(figures.usd * 1e3, tokens);
  figures.usd_per_1k_output_tokens = share(figures.usd * 1e3, output);
  figures.usd_per_million_requests = share(figures.usd * 1e6, count);
  figures.requests_per_s = share(count, figures.duration_s);
  figures.output_tokens_per_s = share(output, figures.duration_s);
  figures.tokens_per_s = share(tokens, figures.duration_s);
}

void set_machine(run_figures& figures, const virtual_counts& counts) {
  const double duration_ms = figures.duration_s * 1e3;
  const auto rows = static_cast<double>(counts.rows);
  figures.busy = share(counts.busy_ms, duration_ms);
  figures.utilization = share(counts.useful_ms, duration_ms);
  figures.startup = share(counts.startup_ms, duration_ms);
  figures.overhead = share(counts.overhead_ms, duration_ms);
  figures.padding = share(static_cast<double>(counts.padding_rows), rows);
  figures.recomputed = share(static_cast<double>(counts.recomputed_rows), rows);
  figures.batch_fill = share(counts.seat_ms, counts.busy_ms * counts.seats);
  figures.kv_fragmentation = share(counts.kv_reserved - counts.kv_written, counts.kv_reserved);
  figures.prefix_hit = share(static_cast<double>(counts.prefix_hit_tokens),
                             static_cast<double>(counts.prefix_query_tokens));
  figures.steps = counts.steps;
  figures.preemptions = counts.preemptions;
}

}  // namespace

time_distribution describe(std::vector<double>& values_ms) {
  time_distribution made;
  if (values_ms.empty()) return made;
  std::ranges::sort(values_ms);
  made.mean = std::accumulate(values_ms.begin(), values_ms.end(), 0.0) /
              static_cast<double>(values_ms.size());
  for (int percent = 0; percent <= 100; ++percent)
    made.percents.push_back(quantile(values_ms, percent));
  made.p50 = made.percents[50];
  made.p90 = made.percents[90];
  made.p95 = made.percents[95];
  made.p99 = made.percents[99];
  return made;
}

run_figures summarize(std::span<const virtual_request> requests, const virtual_result& made,
                      const std::array<lane_targets, lane_count>& targets, double usd_per_hour) {
  run_figures figures;
  TROUPE_CHECK(requests.size() == made.outcomes.size());
  lane_sums all(figures.all, made.is_streamed);
  std::array<lane_sums, lane_count> by_lane{lane_sums(figures.lanes[0], made.is_streamed),
                                            lane_sums(figures.lanes[1], made.is_streamed),
                                            lane_sums(figures.lanes[2], made.is_streamed)};
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const std::size_t place = to_index(requests[i].service);
    all.add(requests[i], made.outcomes[i], targets[place]);
    by_lane[place].add(requests[i], made.outcomes[i], targets[place]);
  }
  all.finish();
  for (lane_sums& each : by_lane) each.finish();
  for (const lane each : all_lanes) {
    const double by_ms = to_ms(made.overtaken_by_max[to_index(each)]);
    figures.lanes[to_index(each)].overtaken_by_ms_max = by_ms;
    figures.all.overtaken_by_ms_max = std::max(figures.all.overtaken_by_ms_max, by_ms);
  }
  if (!requests.empty())
    figures.duration_s = to_ms(made.end - made.outcomes.front().submitted) / 1e3;
  set_costs(figures, usd_per_hour);
  set_machine(figures, made.counts);
  return figures;
}

}  // namespace troupe::simulate
