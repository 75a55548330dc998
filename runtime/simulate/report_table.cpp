#include <algorithm>

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
    to.row(fmt::format("{} {} (ms)", name, what),
           [&](const way_report& each) { return fmt::format("{:.2f}", of(each).*value); });
  };
  line("mean", &time_distribution::mean);
  line("p50", &time_distribution::p50);
  line("p99", &time_distribution::p99);
}

bool is_used(const simulation_report& report, lane service) {
  return std::ranges::any_of(report.ways, [&](const way_report& each) {
    const lane_figures& figures = each.figures.lanes[to_index(service)];
    return figures.completed + figures.refused != 0 &&
           figures.completed + figures.refused != report.request_count;
  });
}

std::string kept(const std::optional<double>& share) {
  return share ? percent(*share) : "-";
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

std::string cell(const std::optional<double>& value, std::string_view format) {
  return value ? fmt::format(fmt::runtime(format), *value) : "-";
}

std::string published_text(const scenario& what, const simulation_report& report) {
  std::string text;
  for (std::size_t i = 0; i < what.ways.size(); ++i) {
    const published_figures& given = what.ways[i].published;
    const run_figures& ours = report.ways[i].figures;
    const auto line = [&](std::string_view label, double simulated,
                          const std::optional<double>& published) {
      if (published)
        text +=
            fmt::format("{:<16}{:<28}{:>14.2f}{:>14.2f}{:>10.2f}\n", what.ways[i].name, label,
                        simulated, *published, *published == 0.0 ? 0.0 : simulated / *published);
    };
    line("$ per million requests", ours.usd_per_million_requests, given.usd_per_million_requests);
    line("mean latency (ms)", ours.all.e2e.mean, given.latency_ms);
    line("requests per second", ours.requests_per_s, given.requests_per_s);
    const implied_figures implied =
        imply(given, report.prompt_tokens_mean + report.output_tokens_mean);
    if (implied.requests_in_flight || implied.usd_per_hour)
      text += fmt::format(
          "{:<16}published figures imply {} requests in flight, {} $ per hour, {} tokens per "
          "second\n",
          what.ways[i].name, cell(implied.requests_in_flight, "{:.0f}"),
          cell(implied.usd_per_hour, "{:.2f}"), cell(implied.tokens_per_s, "{:.0f}"));
  }
  for (const published_claim& claim : what.claims) {
    const auto ours = simulated_claim(what, report, claim);
    const std::string label =
        claim.against.empty() ? claim.figure + " (%)"
                              : fmt::format("{}, less than {} (%)", claim.figure, claim.against);
    text += fmt::format("{:<16}{:<28}{:>14}{:>14.2f}\n", claim.way, label, cell(ours, "{:.2f}"),
                        claim.percent);
  }
  if (text.empty()) return text;
  return fmt::format("\n{:<16}{:<28}{:>14}{:>14}{:>10}\n", "way", "published figure", "simulated",
                     "published", "ratio") +
         text;
}

}  // namespace

implied_figures imply(const published_figures& published, double tokens_per_request) {
  implied_figures made;
  const auto& rate = published.requests_per_s;
  if (!rate) return made;
  if (published.latency_ms) made.requests_in_flight = *rate * *published.latency_ms / 1e3;
  if (published.usd_per_million_requests)
    made.usd_per_hour = *published.usd_per_million_requests / 1e6 * *rate * 3600.0;
  made.tokens_per_s = *rate * tokens_per_request;
  return made;
}

std::optional<double> simulated_claim(const scenario& what, const simulation_report& report,
                                      const published_claim& claim) {
  const auto of = [&](const std::string& name) -> std::optional<double> {
    const auto found = std::ranges::find(what.ways, name, &way::name);
    if (found == what.ways.end()) return std::nullopt;
    const auto place = static_cast<std::size_t>(found - what.ways.begin());
    return claim_figure(report.ways[place].figures, claim.figure);
  };
  const auto ours = of(claim.way);
  if (!ours || claim.against.empty()) return ours;
  const auto other = of(claim.against);
  if (!other || *other == 0.0) return std::nullopt;
  return (1.0 - *ours / *other) * 100.0;
}

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
  made.row("targets kept (%)",
           [](const way_report& each) { return kept(each.figures.all.all_kept); });
  add_lanes(made, report);
  add_machine(made);
  add_costs(made);
  return made.text_ + published_text(what, report);
}

}  // namespace troupe::simulate
