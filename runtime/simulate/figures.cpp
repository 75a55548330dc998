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
  explicit lane_sums(lane_figures& figures) : figures_(figures) {}

  void add(const virtual_request& request, const virtual_outcome& outcome,
           const lane_targets& targets) {
    has_targets_ = has_targets_ || targets.any();
    has_[0] = has_[0] || targets.ttft_ms;
    has_[1] = has_[1] || targets.tpot_ms;
    has_[2] = has_[2] || targets.e2e_ms;
    add_end(request, outcome);
    if (outcome.end != virtual_end::completed) return;
    figures_.prompt_tokens += request.prompt_tokens;
    figures_.output_tokens += request.output_tokens;
    const double ttft = to_ms(outcome.first_token - outcome.submitted);
    const double e2e = to_ms(outcome.finished - outcome.submitted);
    const double tpot =
        request.output_tokens > 1 ? (e2e - ttft) / (request.output_tokens - 1) : 0.0;
    ttft_.push_back(ttft);
    e2e_.push_back(e2e);
    if (request.output_tokens > 1) tpot_.push_back(tpot);
    const bool keeps[] = {keep(ttft, targets.ttft_ms), keep(tpot, targets.tpot_ms),
                          keep(e2e, targets.e2e_ms)};
    for (std::size_t i = 0; i < kept_.size(); ++i) kept_[i] += keeps[i] ? 1u : 0u;
    kept_all_ += keeps[0] && keeps[1] && keeps[2] ? 1u : 0u;
  }

  void finish() {
    figures_.ttft = describe(ttft_);
    figures_.tpot = describe(tpot_);
    figures_.e2e = describe(e2e_);
    figures_.wait = describe(wait_);
    if (!wait_.empty()) figures_.oldest_wait_ms = wait_.back();
    const auto all = static_cast<double>(figures_.count());
    const auto part = [all](std::uint64_t kept) { return share(static_cast<double>(kept), all); };
    if (has_[0]) figures_.ttft_kept = part(kept_[0]);
    if (has_[1]) figures_.tpot_kept = part(kept_[1]);
    if (has_[2]) figures_.e2e_kept = part(kept_[2]);
    if (has_targets_) figures_.all_kept = part(kept_all_);
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

  static bool keep(double ms, const std::optional<double>& bound) { return !bound || ms <= *bound; }

  lane_figures& figures_;
  std::vector<double> ttft_, tpot_, e2e_, wait_;
  std::array<std::uint64_t, 3> kept_{};
  std::array<bool, 3> has_{};
  std::uint64_t kept_all_ = 0;
  bool has_targets_ = false;
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
  lane_sums all(figures.all);
  std::array<lane_sums, lane_count> by_lane{
      lane_sums(figures.lanes[0]), lane_sums(figures.lanes[1]), lane_sums(figures.lanes[2])};
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
