#include <algorithm>
#include <sstream>

#include <fmt/format.h>

#include "runtime/simulate/report.hpp"

namespace troupe::simulate {
namespace {

constexpr std::string_view rule = "============";

std::string percent(double share) {
  return fmt::format("{:.1f}", share * 100.0);
}

/// A row of the table: what it is, and a cell for each way.
class table {
 public:
  explicit table(const simulation_report& report) : report_(report) {}

  template <class Cell>
  void row(std::string_view label, Cell&& cell) {
    text_ += fmt::format("{:<34}", label);
    for (const way_report& each : report_.ways) text_ += fmt::format("{:>16}", cell(each));
    text_ += '\n';
  }
  void heading(std::string_view text) {
    text_ += fmt::format("{:-^34}\n", fmt::format(" {} ", text));
  }
  std::string text_;

 private:
  const simulation_report& report_;
};

void add_times(table& to, const std::string& name, time_distribution lane_figures::*times,
               std::optional<lane> service) {
  const auto of = [&](const way_report& each) -> const time_distribution& {
    const run_figures& figures = each.figures;
    return (service ? figures.lanes[to_index(*service)] : figures.all).*times;
  };
  const auto line = [&](std::string_view what, double time_distribution::*value) {
    to.row(fmt::format("{} {} (ms)", name, what), [&](const way_report& each) {
      return of(each).is_empty() ? "-" : fmt::format("{:.2f}", of(each).*value);
    });
  };
  line("mean", &time_distribution::mean);
  line("p50", &time_distribution::p50);
  line("p99", &time_distribution::p99);
}

bool is_used(const simulation_report& report, lane service) {
  return std::ranges::any_of(report.ways, [&](const way_report& each) {
    const std::uint64_t count = each.figures.lanes[to_index(service)].count();
    return count != 0 && count != report.request_count;
  });
}

std::string kept(const std::optional<double>& share) {
  return share ? percent(*share) : "-";
}

template <class Of>
void add_waiting(table& to, const simulation_report& report, Of&& of) {
  const auto line = [&](std::string_view label, double lane_figures::*ms) {
    to.row(label, [&](const way_report& each) { return fmt::format("{:.2f}", of(each).*ms); });
  };
  line("oldest wait (ms)", &lane_figures::oldest_wait_ms);
  line("held beside room, longest (ms)", &lane_figures::held_ms_max);
  line("overtaken by, latest (ms)", &lane_figures::overtaken_by_ms_max);
  if (std::ranges::none_of(report.ways,
                           [&](const way_report& each) { return of(each).has_deadlines(); }))
    return;
  to.row("deadlines met/refused/missed", [&](const way_report& each) {
    const lane_figures& figures = of(each);
    return fmt::format("{}/{}/{}", figures.deadlines_met, figures.deadlines_refused,
                       figures.deadlines_missed);
  });
}

void add_lanes(table& to, const simulation_report& report) {
  for (const lane service : all_lanes) {
    if (!is_used(report, service)) continue;
    to.heading(fmt::format("lane {}", to_string(service)));
    const auto of = [service](const way_report& each) -> const lane_figures& {
      return each.figures.lanes[to_index(service)];
    };
    to.row("completed",
           [&](const way_report& each) { return fmt::format("{}", of(each).completed); });
    to.row("refused", [&](const way_report& each) { return fmt::format("{}", of(each).refused); });
    add_times(to, "TTFT", &lane_figures::ttft, service);
    add_times(to, "TPOT", &lane_figures::tpot, service);
    add_times(to, "E2E", &lane_figures::e2e, service);
    add_waiting(to, report, of);
    to.row("targets kept (%)", [&](const way_report& each) { return kept(of(each).all_kept); });
  }
}

void add_machine(table& to) {
  const auto share = [&](std::string_view label, double run_figures::*value) {
    to.row(label, [&](const way_report& each) { return percent(each.figures.*value); });
  };
  to.heading("machine");
  share("busy (% of time)", &run_figures::busy);
  share("utilization (% of time)", &run_figures::utilization);
  share("start-up (% of time)", &run_figures::startup);
  share("overhead (% of time)", &run_figures::overhead);
  share("padding (% of rows)", &run_figures::padding);
  share("recomputed (% of rows)", &run_figures::recomputed);
  share("batch fill (% of seats)", &run_figures::batch_fill);
  share("KV fragmentation (% of held)", &run_figures::kv_fragmentation);
  share("prefix hits (% of prompt tokens)", &run_figures::prefix_hit);
  to.row("seats", [](const way_report& each) { return fmt::format("{}", each.seats); });
  to.row("steps", [](const way_report& each) { return fmt::format("{}", each.figures.steps); });
  to.row("preemptions",
         [](const way_report& each) { return fmt::format("{}", each.figures.preemptions); });
}

void add_costs(table& to) {
  to.heading("cost");
  to.row("price ($ per hour)",
         [](const way_report& each) { return fmt::format("{:.2f}", each.usd_per_hour); });
  to.row("$ per 1k tokens", [](const way_report& each) {
    return fmt::format("{:.6f}", each.figures.usd_per_1k_tokens);
  });
  to.row("$ per 1k output tokens", [](const way_report& each) {
    return fmt::format("{:.6f}", each.figures.usd_per_1k_output_tokens);
  });
  to.row("$ per million requests", [](const way_report& each) {
    return fmt::format("{:.2f}", each.figures.usd_per_million_requests);
  });
}

std::string cell(const std::optional<double>& value) {
  return value ? fmt::format("{:.2f}", *value) : "-";
}

/// Indented, in lines of a terminal's width.
std::string wrapped(const std::string& text) {
  constexpr std::size_t indent = 4, width = 96;
  std::string made, line;
  const auto end_line = [&] {
    made += fmt::format("{:{}}{}\n", "", indent, line);
    line.clear();
  };
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (!line.empty() && indent + line.size() + 1 + word.size() > width) end_line();
    line += (line.empty() ? "" : " ") + word;
  }
  if (!line.empty()) end_line();
  return made;
}

std::string published_text(const scenario& what, const simulation_report& report) {
  const auto rows = published_rows(what, report);
  if (rows.empty()) return {};
  std::string text = fmt::format("\n{:<16}{:<36}{:>14}{:>14}{:>10}\n", "way", "published figure",
                                 "simulated", "published", "ratio");
  for (const published_row& each : rows)
    text += fmt::format("{:<16}{:<36}{:>14}{:>14.2f}{:>10}\n", each.way, each.figure,
                        cell(each.simulated), each.published, cell(each.ratio())) +
            wrapped(each.why);
  text +=
      fmt::format("\n{:<16}{:<12}{:>20}{:>14}{:>18}{:>12}{:>12}\n", "way", "implied by",
                  "requests in flight", "$ per hour", "tokens per second", "computed", "% of peak");
  for (const implied_figures& each : implied_rows(what, report))
    text +=
        fmt::format("{:<16}{:<12}{:>20}{:>14}{:>18}{:>12}{:>12}\n", each.way,
                    each.is_published ? "published" : "simulated", cell(each.requests_in_flight),
                    cell(each.usd_per_hour), cell(each.tokens_per_s),
                    cell(each.computed_tokens_per_s), cell(each.peak_percent));
  return text;
}

}  // namespace

std::string report_table(const scenario& what, const simulation_report& report) {
  table made(report);
  made.text_ = fmt::format(
      "{0} {1} {0}\n{2} requests, {3:.1f} prompt and {4:.1f} output tokens on average\n", rule,
      what.name, report.request_count, report.prompt_tokens_mean, report.output_tokens_mean);
  std::size_t next = 0;
  made.row("", [&](const way_report&) { return what.ways[next++].name; });
  made.row("completed",
           [](const way_report& each) { return fmt::format("{}", each.figures.all.completed); });
  made.row("refused",
           [](const way_report& each) { return fmt::format("{}", each.figures.all.refused); });
  made.row("duration (s)",
           [](const way_report& each) { return fmt::format("{:.1f}", each.figures.duration_s); });
  made.row("requests per second", [](const way_report& each) {
    return fmt::format("{:.2f}", each.figures.requests_per_s);
  });
  made.row("output tokens per second", [](const way_report& each) {
    return fmt::format("{:.1f}", each.figures.output_tokens_per_s);
  });
  made.row("tokens per second",
           [](const way_report& each) { return fmt::format("{:.1f}", each.figures.tokens_per_s); });
  add_times(made, "TTFT", &lane_figures::ttft, std::nullopt);
  add_times(made, "TPOT", &lane_figures::tpot, std::nullopt);
  add_times(made, "E2E", &lane_figures::e2e, std::nullopt);
  add_waiting(made, report,
              [](const way_report& each) -> const lane_figures& { return each.figures.all; });
  made.row("targets kept (%)",
           [](const way_report& each) { return kept(each.figures.all.all_kept); });
  add_lanes(made, report);
  add_machine(made);
  add_costs(made);
  return made.text_ + published_text(what, report);
}

}  // namespace troupe::simulate
