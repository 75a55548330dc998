#include "bench/kernels/kernel_report.hpp"

#include <iterator>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace troupe::bench {

namespace {

struct rate {
  double value = 0.0;
  std::string_view unit;
};

/// Tokens of a step; bytes where they bind a kernel, operations elsewhere.
rate rate_of(const kernel_measurement& measured, const machine_limits& limits) {
  const double seconds = measured.timing.median_seconds;
  if (measured.token_count != 0)
    return {static_cast<double>(measured.token_count) / seconds, "tokens/s"};
  const roofline times = roofline_of(measured.work, limits);
  if (times.bytes_seconds >= times.compute_seconds)
    return {measured.work.bytes * 1e-9 / seconds, "GB/s"};
  const kernel_work& work = measured.work;
  return {(work.int8_operations + work.bf16_operations + work.float_operations) * 1e-9 / seconds,
          "GOPS"};
}

/// Of the raw int8 peak; 0 for what does no int8 arithmetic.
double int8_fraction(const kernel_measurement& measured, const machine_limits& limits) {
  return measured.work.int8_operations / limits.rate(limit_kind::int8_dot) /
         measured.timing.median_seconds;
}

std::string_view limit_unit(limit_kind kind) {
  return is_read(kind) ? "GB/s" : "GOPS";
}

nlohmann::json limits_json(const machine_limits& limits) {
  nlohmann::json list = nlohmann::json::array();
  for (std::size_t i = 0; i < limit_kind_count; ++i) {
    const auto kind = static_cast<limit_kind>(i);
    if (limits.rate(kind) == 0.0) continue;
    list.push_back({{"name", to_string(kind)},
                    {"threads", limits.thread_count},
                    {"rate", limits.rate(kind) * 1e-9},
                    {"unit", limit_unit(kind)}});
  }
  return list;
}

nlohmann::json measurement_json(const kernel_measurement& measured, const machine_limits& limits) {
  const roofline times = roofline_of(measured.work, limits);
  const rate reached = rate_of(measured, limits);
  nlohmann::json entry{{"name", measured.name},
                       {"median_us", measured.timing.median_seconds * 1e6},
                       {"best_us", measured.timing.best_seconds * 1e6},
                       {"spread", measured.timing.spread},
                       {"samples", measured.timing.sample_count},
                       {"rate", reached.value},
                       {"unit", reached.unit},
                       {"int8_operations", measured.work.int8_operations},
                       {"bf16_operations", measured.work.bf16_operations},
                       {"float_operations", measured.work.float_operations},
                       {"bytes", measured.work.bytes},
                       {"bytes_in", to_string(measured.work.tier)},
                       {"compute_limit_us", times.compute_seconds * 1e6},
                       {"bytes_limit_us", times.bytes_seconds * 1e6},
                       {"bound", binding_limit(measured.work, limits)},
                       {"fraction", fraction_of_limit(measured, limits)}};
  if (measured.memory_rate > 0.0) entry["memory_rate"] = measured.memory_rate * 1e-9;
  if (measured.work.int8_operations > 0.0)
    entry["int8_peak_fraction"] = int8_fraction(measured, limits);
  return entry;
}

void append_limits(const kernel_report& report, std::string& out) {
  auto to = std::back_inserter(out);
  fmt::format_to(to, "{:<26} {:>12} {:>12}\n", "limit", "1 thread",
                 fmt::format("{} threads", report.all_threads.thread_count));
  for (std::size_t i = 0; i < limit_kind_count; ++i) {
    const auto kind = static_cast<limit_kind>(i);
    if (report.all_threads.rate(kind) == 0.0) continue;
    fmt::format_to(to, "{:<26} {:>12.1f} {:>12.1f} {}\n", to_string(kind),
                   report.one_thread.rate(kind) * 1e-9, report.all_threads.rate(kind) * 1e-9,
                   limit_unit(kind));
  }
}

/// A quiet machine with a core for each thread scales almost by their number: halfway there is the
/// line.
void append_scaling_note(const kernel_report& report, std::string& out) {
  const auto threads = static_cast<double>(report.all_threads.thread_count);
  const double scaling =
      report.all_threads.rate(limit_kind::int8_dot) / report.one_thread.rate(limit_kind::int8_dot);
  if (scaling >= (1.0 + threads) / 2.0) return;
  fmt::format_to(
      std::back_inserter(out),
      "{} threads are only {:.1f} times as fast as one: they share cores, or the machine "
      "is busy and\nfractions mean little.\n",
      report.all_threads.thread_count, scaling);
}

void append_measurement(const kernel_measurement& measured, const machine_limits& limits,
                        std::string& out) {
  auto to = std::back_inserter(out);
  const rate reached = rate_of(measured, limits);
  fmt::format_to(to, "{:<48} {:>12.2f} {:>10.1f} {:<8} {:>6} {:>6.2f}", measured.name,
                 measured.timing.median_seconds * 1e6, reached.value, reached.unit,
                 binding_limit(measured.work, limits), fraction_of_limit(measured, limits));
  if (measured.work.int8_operations > 0.0) {
    fmt::format_to(to, " {:>6.2f}", int8_fraction(measured, limits));
  } else {
    fmt::format_to(to, " {:>6}", "");
  }
  fmt::format_to(to, " {:>5.0f}% {:>7.1f}\n", measured.timing.spread * 100.0,
                 measured.memory_rate * 1e-9);
}

/// Of each step whose parts were measured, the parts' shares and what is left: kernels over rows.
void append_step_shares(const kernel_report& report, std::string& out) {
  auto to = std::back_inserter(out);
  bool is_first = true;
  for (const auto& step : report.measurements) {
    if (step.token_count == 0) continue;
    double rest = 1.0;
    std::string parts;
    for (const auto& part : report.measurements) {
      const std::string start = step.name + "/part=";
      if (!part.name.starts_with(start)) continue;
      const double share = part.timing.median_seconds / step.timing.median_seconds;
      fmt::format_to(std::back_inserter(parts), " {} {:.0f} %,", part.name.substr(start.size()),
                     share * 100.0);
      if (!part.name.ends_with("sampling")) rest -= share;  // the pass does not sample
    }
    if (parts.empty()) continue;
    if (std::exchange(is_first, false)) out += "\nparts, of the step (sampling: beside it)\n";
    fmt::format_to(to, "{:<30}{} norm, rope, silu, quantize and the rest {:.0f} %\n", step.name,
                   parts, rest * 100.0);
  }
}

}  // namespace

machine_limits limits_beside(const kernel_measurement& measured, const machine_limits& limits) {
  machine_limits beside = limits;
  if (measured.memory_rate > 0.0) {
    for (const auto kind : {limit_kind::memory_read, limit_kind::memory_read_huge_pages}) {
      beside.rates[static_cast<std::size_t>(kind)] = measured.memory_rate;
    }
  }
  return beside;
}

double fraction_of_limit(const kernel_measurement& measured, const machine_limits& limits) {
  return roofline_of(measured.work, limits).bound_seconds() / measured.timing.median_seconds;
}

std::string kernel_report_table(const kernel_report& report) {
  std::string out = fmt::format("{}, {} kernels, {} threads\n\n", report.cpu_name,
                                to_string(report.set), report.all_threads.thread_count);
  append_limits(report, out);
  append_scaling_note(report, out);
  if (report.measurements.empty()) return out;
  fmt::format_to(std::back_inserter(out),
                 "\n{:<48} {:>12} {:>10} {:<8} {:>6} {:>6} {:>6} {:>6} {:>7}\n", "case",
                 "median us", "rate", "", "bound", "of it", "int8", "spread", "memory");
  for (const auto& measured : report.measurements) {
    append_measurement(measured, limits_beside(measured, report.all_threads), out);
  }
  out += "(memory: the GB/s that it gave just before and after the case, its limit there)\n";
  append_step_shares(report, out);
  return out;
}

std::string kernel_report_json(const kernel_report& report) {
  nlohmann::json limits = limits_json(report.one_thread);
  if (report.all_threads.thread_count != 1) {
    for (auto& entry : limits_json(report.all_threads)) limits.push_back(std::move(entry));
  }
  nlohmann::json results = nlohmann::json::array();
  for (const auto& measured : report.measurements) {
    results.push_back(measurement_json(measured, limits_beside(measured, report.all_threads)));
  }
  const nlohmann::json whole{{"cpu", report.cpu_name},
                             {"isa", to_string(report.set)},
                             {"threads", report.all_threads.thread_count},
                             {"l1_bytes", report.caches.l1_bytes},
                             {"l2_bytes", report.caches.l2_bytes},
                             {"l3_bytes", report.caches.l3_bytes},
                             {"huge_page_share", report.huge_share},
                             {"limits", limits},
                             {"results", results}};
  return whole.dump(1) + "\n";
}

}  // namespace troupe::bench
