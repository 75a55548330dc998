#include "bench/serve/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

namespace troupe::bench {
namespace {

constexpr double ms_per_s = 1000.0;

bool is_good(const request_record& record, const goodput_bounds& bounds) {
  const auto holds = [](std::optional<double> bound_ms, double value_s) {
    return !bound_ms || value_s * ms_per_s <= *bound_ms;
  };
  return holds(bounds.ttft_ms, record.ttft_s()) && holds(bounds.tpot_ms, record.tpot_s()) &&
         holds(bounds.e2el_ms, record.e2el_s());
}

/// Tokens and requests by whole seconds since the first start.
void count_seconds(const std::vector<const request_record*>& ok, load_figures& out) {
  if (ok.empty()) return;
  double begin = ok.front()->start_s, end = ok.front()->last_s;
  for (const request_record* record : ok) {
    begin = std::min(begin, record->start_s);
    end = std::max(end, record->last_s);
  }
  const auto second_of = [begin](double at_s) { return static_cast<std::size_t>(at_s - begin); };
  std::vector<std::size_t> tokens(second_of(end) + 1), starts(tokens.size() + 1),
      ends(tokens.size() + 1);
  for (const request_record* record : ok) {
    ++starts[second_of(record->start_s)];
    ++ends[second_of(record->last_s) + 1];
    double at = record->first_s;
    ++tokens[second_of(at)];
    for (const double gap : record->gaps_s)
      ++tokens[std::min(second_of(at += gap), tokens.size() - 1)];
  }
  std::size_t running = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    running += starts[i];
    running -= ends[i];
    out.peak_concurrent_requests = std::max(out.peak_concurrent_requests, running);
    out.peak_output_tokens_per_s =
        std::max(out.peak_output_tokens_per_s, static_cast<double>(tokens[i]));
  }
}

}  // namespace

double percentile(const std::vector<double>& ascending, double percent) {
  if (ascending.empty()) return 0.0;
  const double place = percent / 100.0 * static_cast<double>(ascending.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, ascending.size() - 1);
  return ascending[below] +
         (ascending[above] - ascending[below]) * (place - static_cast<double>(below));
}

distribution describe_times(std::vector<double> values_s, const std::vector<double>& percents) {
  distribution out;
  std::sort(values_s.begin(), values_s.end());
  for (const double percent : percents)
    out.percentiles_ms.emplace_back(percent, percentile(values_s, percent) * ms_per_s);
  if (values_s.empty()) return out;
  const auto count = static_cast<double>(values_s.size());
  const double mean_s = std::accumulate(values_s.begin(), values_s.end(), 0.0) / count;
  double squares = 0.0;
  for (const double value : values_s) squares += (value - mean_s) * (value - mean_s);
  out.mean_ms = mean_s * ms_per_s;
  out.median_ms = percentile(values_s, 50.0) * ms_per_s;
  out.std_ms = std::sqrt(squares / count) * ms_per_s;
  return out;
}

load_figures summarize(const std::vector<const request_record*>& records,
                       const figure_options& options) {
  load_figures out;
  std::vector<const request_record*> ok;
  std::vector<double> ttfts, tpots, itls, e2els;
  std::size_t good_count = 0;
  for (const request_record* record : records) {
    out.largest_lag_ms = std::max(out.largest_lag_ms, record->lag_s * ms_per_s);
    if (!record->is_ok) {
      ++out.failed;
      continue;
    }
    ok.push_back(record);
    out.input_tokens += record->prompt_tokens;
    out.output_tokens += record->output_tokens;
    ttfts.push_back(record->ttft_s());
    e2els.push_back(record->e2el_s());
    if (record->output_tokens > 1) tpots.push_back(record->tpot_s());
    itls.insert(itls.end(), record->gaps_s.begin(), record->gaps_s.end());
    good_count += is_good(*record, options.goodput) ? 1 : 0;
  }
  out.completed = ok.size();
  out.duration_s = options.duration_s;
  const auto rate = [&](auto count) {
    return options.duration_s > 0.0 ? static_cast<double>(count) / options.duration_s : 0.0;
  };
  out.request_throughput = rate(out.completed);
  out.output_throughput = rate(out.output_tokens);
  out.total_token_throughput = rate(out.input_tokens + out.output_tokens);
  if (options.goodput.are_given()) out.request_goodput = rate(good_count);
  count_seconds(ok, out);
  out.ttft = describe_times(std::move(ttfts), options.percents);
  out.tpot = describe_times(std::move(tpots), options.percents);
  out.itl = describe_times(std::move(itls), options.percents);
  out.e2el = describe_times(std::move(e2els), options.percents);
  return out;
}

}  // namespace troupe::bench
