#include "bench/serve/report.hpp"

#include <array>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace troupe::bench {
namespace {

using nlohmann::ordered_json;

constexpr int width = 50;

struct metric {
  std::string_view key, name, title;
  distribution load_figures::*values;
};

constexpr std::array<metric, 4> all_metrics{{
    {"ttft", "TTFT", "Time to First Token", &load_figures::ttft},
    {"tpot", "TPOT", "Time per Output Token (excl. 1st token)", &load_figures::tpot},
    {"itl", "ITL", "Inter-token Latency", &load_figures::itl},
    {"e2el", "E2EL", "End-to-end Latency", &load_figures::e2el},
}};

bool is_chosen(const load_report& report, std::string_view key) {
  return std::find(report.metrics.begin(), report.metrics.end(), key) != report.metrics.end();
}

std::string count_line(std::string_view label, std::uint64_t value) {
  return fmt::format("{:<40} {:<10}\n", label, value);
}
std::string real_line(std::string_view label, double value) {
  return fmt::format("{:<40} {:<10.2f}\n", label, value);
}
/// "99" or "99.9".
std::string percent_word(double percent) {
  return fmt::format("{:g}", percent);
}

std::string figures_text(const load_figures& figures) {
  std::string out = real_line("Benchmark duration (s):", figures.duration_s) +
                    count_line("Total input tokens:", figures.input_tokens) +
                    count_line("Total generated tokens:", figures.output_tokens) +
                    real_line("Request throughput (req/s):", figures.request_throughput);
  if (figures.request_goodput)
    out += real_line("Request goodput (req/s):", *figures.request_goodput);
  return out + real_line("Output token throughput (tok/s):", figures.output_throughput) +
         real_line("Peak output token throughput (tok/s):", figures.peak_output_tokens_per_s) +
         real_line("Peak concurrent requests:",
                   static_cast<double>(figures.peak_concurrent_requests)) +
         real_line("Total token throughput (tok/s):", figures.total_token_throughput);
}

std::string times_text(const load_report& report, const load_figures& figures) {
  std::string out;
  for (const metric& each : all_metrics) {
    if (!is_chosen(report, each.key)) continue;
    const distribution& times = figures.*each.values;
    out += fmt::format("{:-^{}}\n", each.title, width);
    out += real_line(fmt::format("Mean {} (ms):", each.name), times.mean_ms);
    out += real_line(fmt::format("Median {} (ms):", each.name), times.median_ms);
    for (const auto& [percent, value_ms] : times.percentiles_ms)
      out += real_line(fmt::format("P{} {} (ms):", percent_word(percent), each.name), value_ms);
  }
  return out;
}

ordered_json figures_json(const load_report& report, const load_figures& figures) {
  ordered_json out{{"duration", figures.duration_s},
                   {"completed", figures.completed},
                   {"failed", figures.failed},
                   {"total_input_tokens", figures.input_tokens},
                   {"total_output_tokens", figures.output_tokens},
                   {"request_throughput", figures.request_throughput},
                   {"request_goodput", nullptr},
                   {"output_throughput", figures.output_throughput},
                   {"total_token_throughput", figures.total_token_throughput},
                   {"max_output_tokens_per_s", figures.peak_output_tokens_per_s},
                   {"max_concurrent_requests", figures.peak_concurrent_requests},
                   {"largest_lag_ms", figures.largest_lag_ms}};
  if (figures.request_goodput) out["request_goodput"] = *figures.request_goodput;
  for (const metric& each : all_metrics) {
    if (!is_chosen(report, each.key)) continue;
    const distribution& times = figures.*each.values;
    out[fmt::format("mean_{}_ms", each.key)] = times.mean_ms;
    out[fmt::format("median_{}_ms", each.key)] = times.median_ms;
    out[fmt::format("std_{}_ms", each.key)] = times.std_ms;
    for (const auto& [percent, value_ms] : times.percentiles_ms)
      out[fmt::format("p{}_{}_ms", percent_word(percent), each.key)] = value_ms;
  }
  return out;
}

}  // namespace

std::string report_text(const load_report& report) {
  const load_setup& setup = report.setup;
  std::string out = fmt::format("{:=^{}}\n", " Serving Benchmark Result ", width) +
                    count_line("Successful requests:", report.figures.completed) +
                    count_line("Failed requests:", report.figures.failed);
  if (setup.concurrency_max != 0)
    out += count_line("Maximum request concurrency:", setup.concurrency_max);
  if (!std::isinf(setup.rate_per_s))
    out += real_line("Request rate configured (RPS):", setup.rate_per_s);
  out += figures_text(report.figures) +
         real_line("Largest sender lag (ms):", report.figures.largest_lag_ms) +
         real_line("Client CPU time (s):", report.client_cpu_s) +
         times_text(report, report.figures);
  for (const auto& [service, figures] : report.lanes) {
    out += fmt::format("{:=^{}}\n", fmt::format(" Lane {} ", to_string(service)), width);
    out += count_line("Successful requests:", figures.completed) +
           count_line("Failed requests:", figures.failed);
    if (figures.request_goodput)
      out += real_line("Request goodput (req/s):", *figures.request_goodput);
    out += real_line("Output token throughput (tok/s):", figures.output_throughput) +
           times_text(report, figures);
  }
  return out + std::string(width, '=') + "\n";
}

std::string report_json(const load_report& report) {
  const load_setup& setup = report.setup;
  ordered_json out{{"backend", "troupe"},
                   {"url", setup.url},
                   {"model_id", setup.model},
                   {"dataset_name", setup.dataset},
                   {"num_prompts", setup.request_count},
                   {"request_rate", nullptr},
                   {"burstiness", setup.burstiness},
                   {"max_concurrency", nullptr},
                   {"seed", setup.seed}};
  if (std::isinf(setup.rate_per_s))
    out["request_rate"] = "inf";
  else
    out["request_rate"] = setup.rate_per_s;
  if (setup.concurrency_max != 0) out["max_concurrency"] = setup.concurrency_max;
  out.update(figures_json(report, report.figures));
  out["client_cpu_s"] = report.client_cpu_s;
  for (const auto& [service, figures] : report.lanes)
    out["lanes"][std::string(to_string(service))] = figures_json(report, figures);
  out["errors"] = report.failures;
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace troupe::bench
