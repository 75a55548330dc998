#include <algorithm>
#include <chrono>
#include <iterator>

#include <fmt/format.h>

#include "runtime/simulate/report.hpp"
#include "runtime/simulate/svg_plot.hpp"

namespace troupe::simulate {
namespace {

constexpr std::string_view style = R"(<style>
:root{color-scheme:light dark;--ink:#1c2024;--dim:#60666e;--page:#fff;--line:#d9dde2;--soft:#f4f6f8;
--c0:#2f6fde;--c1:#d9622b;--c2:#2a9d6a;--c3:#8a54c7;--c4:#c23b5a;--c5:#8a8f98;--c6:#b08a1e;--c7:#1f9aa8}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--dim:#9aa1ab;--page:#15181c;--line:#343a42;--soft:#1d2126;
--c0:#6f9ef5;--c1:#f08a57;--c2:#58c795;--c3:#b48af0;--c4:#ec6f8c;--c5:#a0a6b0;--c6:#d8b451;--c7:#5cc6d2}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:1100px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}p,li{max-width:75ch}.dim{color:var(--dim)}
table{border-collapse:collapse;margin:.6rem 0;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
th:first-child,td:first-child,td.w,th.w{text-align:left}td.w{max-width:60ch}thead th{background:var(--soft)}
tr.h td{font-weight:600;background:var(--soft)}.scroll{overflow-x:auto}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:1rem}
svg{width:100%;height:auto;font:11px system-ui,sans-serif}svg text{fill:var(--dim)}svg .t{fill:var(--ink);font-size:13px}
.g{stroke:var(--line);fill:none}.l{fill:none;stroke-width:1.8}
.c0{fill:var(--c0)}.c1{fill:var(--c1)}.c2{fill:var(--c2)}.c3{fill:var(--c3)}.c4{fill:var(--c4)}.c5{fill:var(--c5)}.c6{fill:var(--c6)}.c7{fill:var(--c7)}
.s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}.s5{stroke:var(--c5)}.s6{stroke:var(--c6)}.s7{stroke:var(--c7)}
</style>)";

std::string cell(double value) {
  return fmt::format("<td>{}</td>", value >= 100.0 ? fmt::format("{:.0f}", value)
                                    : value >= 1.0 ? fmt::format("{:.2f}", value)
                                                   : fmt::format("{:.4g}", value));
}

std::string cell(const std::optional<double>& value) {
  return value ? cell(*value) : "<td>-</td>";
}

class page {
 public:
  page(const scenario& what, const simulation_report& report) : what_(what), report_(report) {}

  std::string make() {
    text_ = fmt::format(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta "
        "name=\"viewport\" content=\"width=device-width\"><title>{0}</title>{1}"
        "<body><h1>{0}</h1><p>{2}</p><p class=\"dim\">{3} requests, {4:.1f} prompt and "
        "{5:.1f} output tokens on average, seed {6}.</p>",
        escaped(what_.name), style, escaped(what_.about), report_.request_count,
        report_.prompt_tokens_mean, report_.output_tokens_mean, what_.seed);
    add_published();
    add_figures();
    add_plots();
    add_assumptions();
    return text_ + "</body></html>\n";
  }

 private:
  [[nodiscard]] std::string headings() const {
    std::string made = "<thead><tr><th></th>";
    for (const way& each : what_.ways) made += fmt::format("<th>{}</th>", escaped(each.title));
    return made + "</tr></thead>";
  }

  template <class Value>
  void row(std::string_view label, Value&& value) {
    text_ += fmt::format("<tr><td>{}</td>", escaped(label));
    for (const way_report& each : report_.ways) text_ += cell(value(each));
    text_ += "</tr>";
  }
  void heading_row(std::string_view label) {
    text_ += fmt::format("<tr class=\"h\"><td>{}</td>{}</tr>", escaped(label),
                         repeated("<td></td>", report_.ways.size()));
  }
  static std::string repeated(std::string_view text, std::size_t count) {
    std::string made;
    for (std::size_t i = 0; i < count; ++i) made += text;
    return made;
  }

  void add_published() {
    const auto rows = published_rows(what_, report_);
    if (rows.empty()) return;
    text_ +=
        "<h2>Simulated and published</h2><div class=\"scroll\"><table><thead><tr><th>way</th><th "
        "class=\"w\">figure</th><th>simulated</th><th>published</th><th>ratio</th><th "
        "class=\"w\">how they relate</th></tr></thead>";
    for (const published_row& each : rows)
      text_ +=
          fmt::format("<tr><td>{}</td><td class=\"w\">{}</td>{}{}{}<td class=\"w\">{}</td></tr>",
                      escaped(each.way), escaped(each.figure), cell(each.simulated),
                      cell(each.published), cell(each.ratio()), escaped(each.why));
    text_ += "</table></div>";
    add_implied();
    for (const way& each : what_.ways) {
      if (each.notes.empty()) continue;
      text_ += fmt::format("<h3>{}</h3><ul>", escaped(each.title));
      for (const std::string& note : each.notes) text_ += fmt::format("<li>{}</li>", escaped(note));
      text_ += "</ul>";
    }
  }

  void add_implied() {
    text_ +=
        "<h2>What the figures imply</h2><div class=\"scroll\"><table><thead><tr><th>way</th><th "
        "class=\"w\">figures</th><th>requests in flight</th><th>$ per hour</th><th>tokens per "
        "second</th><th>computed</th><th>% of peak</th></tr></thead>";
    for (const implied_figures& each : implied_rows(what_, report_))
      text_ +=
          fmt::format("<tr><td>{}</td><td class=\"w\">{}</td>{}{}{}{}{}</tr>", escaped(each.way),
                      each.is_published ? "published" : "simulated", cell(each.requests_in_flight),
                      cell(each.usd_per_hour), cell(each.tokens_per_s),
                      cell(each.computed_tokens_per_s), cell(each.peak_percent));
    text_ +=
        "</table></div><p class=\"dim\">Requests in flight: throughput times latency (Little's "
        "law). $ per hour: cost of a request times requests an hour. Tokens per second: "
        "throughput times this scenario's mean length; computed: without the prompt tokens that "
        "the prefix cache gave, with padding, by the same source. % of peak: of what the hardware "
        "can compute at "
        "most by its data sheet, two operations a parameter and token.</p>";
  }

  void add_times(std::string_view name, const lane_figures& (*of)(const way_report&, std::size_t),
                 std::size_t which, time_distribution lane_figures::*times) {
    const auto line = [&](std::string_view quantile, double time_distribution::*value) {
      row(fmt::format("{} {} (ms)", name, quantile),
          [&](const way_report& each) -> std::optional<double> {
            const time_distribution& of_lane = of(each, which).*times;
            if (of_lane.is_empty()) return std::nullopt;
            return of_lane.*value;
          });
    };
    line("p50", &time_distribution::p50);
    line("p90", &time_distribution::p90);
    line("p99", &time_distribution::p99);
  }

  void add_lane(const lane_figures& (*of)(const way_report&, std::size_t), std::size_t which) {
    row("completed", [&](const way_report& each) { return double(of(each, which).completed); });
    row("refused", [&](const way_report& each) { return double(of(each, which).refused); });
    add_times("TTFT", of, which, &lane_figures::ttft);
    add_times("TPOT", of, which, &lane_figures::tpot);
    add_times("E2E", of, which, &lane_figures::e2e);
    const auto line = [&](std::string_view label, auto lane_figures::*figure) {
      row(label, [&](const way_report& each) { return double(of(each, which).*figure); });
    };
    line("oldest wait (ms)", &lane_figures::oldest_wait_ms);
    line("held beside room, longest (ms)", &lane_figures::held_ms_max);
    line("overtaken by, latest (ms)", &lane_figures::overtaken_by_ms_max);
    line("deadlines met", &lane_figures::deadlines_met);
    line("deadlines refused", &lane_figures::deadlines_refused);
    line("deadlines missed", &lane_figures::deadlines_missed);
    row("targets kept (share)", [&](const way_report& each) { return of(each, which).all_kept; });
  }

  void add_figures() {
    text_ += "<h2>Figures</h2><div class=\"scroll\"><table>" + headings();
    const auto figure = [&](std::string_view label, double run_figures::*value) {
      row(label, [&](const way_report& each) { return each.figures.*value; });
    };
    figure("requests per second", &run_figures::requests_per_s);
    figure("output tokens per second", &run_figures::output_tokens_per_s);
    heading_row("all lanes");
    add_lane(
        [](const way_report& each, std::size_t) -> const lane_figures& { return each.figures.all; },
        0);
    for (const lane service : all_lanes) {
      if (std::ranges::all_of(report_.ways, [&](const way_report& each) {
            return each.figures.lanes[to_index(service)].count() == 0;
          }))
        continue;
      heading_row(fmt::format("lane {}", to_string(service)));
      add_lane([](const way_report& each,
                  std::size_t i) -> const lane_figures& { return each.figures.lanes[i]; },
               to_index(service));
    }
    heading_row("machine (shares)");
    figure("busy, of the time", &run_figures::busy);
    figure("utilization, of the time", &run_figures::utilization);
    figure("start-up, of the time", &run_figures::startup);
    figure("overhead, of the time", &run_figures::overhead);
    figure("padding, of the rows", &run_figures::padding);
    figure("recomputed, of the rows", &run_figures::recomputed);
    figure("batch fill, of the seats", &run_figures::batch_fill);
    figure("KV fragmentation, of what is held", &run_figures::kv_fragmentation);
    figure("prefix hits, of the prompt tokens", &run_figures::prefix_hit);
    row("preemptions", [](const way_report& each) { return double(each.figures.preemptions); });
    heading_row("cost");
    row("$ per hour", [](const way_report& each) { return each.usd_per_hour; });
    figure("$ per 1k tokens", &run_figures::usd_per_1k_tokens);
    figure("$ per 1k output tokens", &run_figures::usd_per_1k_output_tokens);
    figure("$ per million requests", &run_figures::usd_per_million_requests);
    text_ += "</table></div>";
  }

  void add_distribution(std::string title, time_distribution lane_figures::*times) {
    line_plot plot{std::move(title), "milliseconds", "share of requests (%)", true, {}};
    for (std::size_t i = 0; i < what_.ways.size(); ++i) {
      plot_line line{what_.ways[i].name, {}};
      const auto& percents = (report_.ways[i].figures.all.*times).percents;
      for (std::size_t p = 0; p < percents.size(); ++p)
        line.points.emplace_back(percents[p], static_cast<double>(p));
      plot.lines.push_back(std::move(line));
    }
    text_ += draw(plot);
  }

  void add_moments(std::string title, double (*value)(const virtual_moment&), std::string y_label) {
    line_plot plot{std::move(title), "virtual seconds", std::move(y_label), false, {}};
    for (std::size_t i = 0; i < what_.ways.size(); ++i) {
      plot_line line{what_.ways[i].name, {}};
      for (const virtual_moment& each : report_.ways[i].moments)
        line.points.emplace_back(std::chrono::duration<double>(each.now).count(), value(each));
      plot.lines.push_back(std::move(line));
    }
    text_ += draw(plot);
  }

  void add_plots() {
    text_ += "<h2>Plots</h2><div class=\"plots\">";
    add_distribution("End to end", &lane_figures::e2e);
    add_distribution("Time to first token", &lane_figures::ttft);
    bar_plot time{"Where the time goes",
                  "% of the duration",
                  {"useful", "padding, recomputed", "overhead", "start-up", "idle"},
                  {}};
    bar_plot cost{"Cost", "$ per million requests", {"simulated"}, {}};
    for (std::size_t i = 0; i < what_.ways.size(); ++i) {
      const run_figures& each = report_.ways[i].figures;
      const double wasted = each.busy - each.utilization - each.overhead - each.startup;
      time.bars.push_back(
          {what_.ways[i].name,
           {each.utilization * 100, std::max(0.0, wasted * 100), each.overhead * 100,
            each.startup * 100, std::max(0.0, (1 - each.busy) * 100)}});
      cost.bars.push_back({what_.ways[i].name, {each.usd_per_million_requests}});
    }
    text_ += draw(time) + draw(cost);
    add_moments(
        "Running sequences", [](const virtual_moment& each) { return double(each.running); },
        "sequences");
    add_moments(
        "Waiting requests", [](const virtual_moment& each) { return double(each.waiting); },
        "requests");
    add_moments(
        "KV cache held", [](const virtual_moment& each) { return each.kv_share * 100; },
        "% of the cache");
    text_ += "</div>";
  }

  void add_assumptions() {
    text_ +=
        "<h2>Assumptions and sources</h2><table><thead><tr><th>what</th><th class=\"w\">source</th>"
        "</tr></thead>";
    const auto line = [&](std::string_view about, std::string_view source) {
      text_ += fmt::format("<tr><td class=\"w\">{}</td><td class=\"w\">{}</td></tr>",
                           escaped(about), escaped(source));
    };
    for (const accelerator& card : accelerators()) {
      if (std::ranges::find(what_.ways, card.name, &way::card) == what_.ways.end()) continue;
      line(card.title, card.source);
      line(card.title + ": efficiency", card.efficiency_source);
      line(card.title + ": price", card.price_source);
    }
    for (const assumption& each : what_.assumptions) line(each.about, each.source);
    text_ += "</table>";
  }

  const scenario& what_;
  const simulation_report& report_;
  std::string text_;
};

}  // namespace

std::string report_html(const scenario& what, const simulation_report& report) {
  return page(what, report).make();
}

}  // namespace troupe::simulate
