#include <algorithm>

#include <fmt/format.h>

#include "runtime/simulate/report.hpp"

namespace troupe::simulate {
namespace {

/// In percent.
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

struct served {
  std::optional<double> usd_per_million_requests, latency_ms, requests_per_s;
};

implied_figures imply(const served& figures, double tokens_per_request,
                      const std::optional<double>& peak_tokens_per_s) {
  implied_figures made;
  const auto& rate = figures.requests_per_s;
  if (!rate) return made;
  if (figures.latency_ms) made.requests_in_flight = *rate * *figures.latency_ms / 1e3;
  if (figures.usd_per_million_requests)
    made.usd_per_hour = *figures.usd_per_million_requests * *rate * 3600.0 / 1e6;
  made.tokens_per_s = *rate * tokens_per_request;
  if (peak_tokens_per_s) made.peak_percent = *made.tokens_per_s / *peak_tokens_per_s * 100.0;
  return made;
}

}  // namespace

std::vector<published_row> published_rows(const scenario& what, const simulation_report& report) {
  std::vector<published_row> rows;
  for (std::size_t i = 0; i < what.ways.size(); ++i) {
    const published_figures& given = what.ways[i].published;
    const run_figures& ours = report.ways[i].figures;
    const auto add = [&](std::string figure, double simulated,
                         const published_figures::figure& published) {
      if (published.value)
        rows.push_back(
            {what.ways[i].name, std::move(figure), simulated, *published.value, published.why});
    };
    add("$ per million requests", ours.usd_per_million_requests, given.usd_per_million_requests);
    add("mean latency (ms)", ours.all.e2e.mean, given.latency_ms);
    add("requests per second", ours.requests_per_s, given.requests_per_s);
  }
  for (const published_claim& each : what.claims) {
    std::string figure = each.against.empty()
                             ? fmt::format("{} (%)", each.figure)
                             : fmt::format("{}, less than {} (%)", each.figure, each.against);
    rows.push_back(
        {each.way, std::move(figure), simulated_claim(what, report, each), each.percent, each.why});
  }
  return rows;
}

std::vector<implied_figures> implied_rows(const scenario& what, const simulation_report& report) {
  std::vector<implied_figures> rows;
  const double tokens = report.prompt_tokens_mean + report.output_tokens_mean;
  for (std::size_t i = 0; i < what.ways.size(); ++i) {
    const published_figures& given = what.ways[i].published;
    if (!given.any()) continue;
    const run_figures& ours = report.ways[i].figures;
    const served figures[] = {
        {given.usd_per_million_requests.value, given.latency_ms.value, given.requests_per_s.value},
        {ours.usd_per_million_requests, ours.all.e2e.mean, ours.requests_per_s}};
    for (const served& each : figures) {
      rows.push_back(imply(each, tokens, report.ways[i].peak_tokens_per_s));
      rows.back().way = what.ways[i].name;
      rows.back().is_published = &each == figures;
    }
  }
  return rows;
}

}  // namespace troupe::simulate
