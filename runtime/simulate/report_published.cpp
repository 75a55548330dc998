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
  double prefix_hit = 0.0;  ///< share of the prompt tokens, which are not computed
  double wasted = 0.0;      ///< share of the rows computed, for nobody or again
};

/// What a publication claims of a way, 0 to 1; 0 where it says nothing.
double published_share(const scenario& what, const way& how, std::string_view figure) {
  const auto found = std::ranges::find_if(what.claims, [&](const published_claim& each) {
    return each.way == how.name && each.against.empty() && each.figure == figure;
  });
  return found == what.claims.end() ? 0.0 : std::clamp(found->percent / 100.0, 0.0, 1.0);
}

served published_of(const scenario& what, const way& how) {
  return {.usd_per_million_requests = how.published.usd_per_million_requests.value,
          .latency_ms = how.published.latency_ms.value,
          .requests_per_s = how.published.requests_per_s.value,
          .prefix_hit = published_share(what, how, "prefix_hit"),
          .wasted = published_share(what, how, "padding")};
}

served simulated_of(const run_figures& ours) {
  return {.usd_per_million_requests = ours.usd_per_million_requests,
          .latency_ms = ours.all.e2e.mean,
          .requests_per_s = ours.requests_per_s,
          .prefix_hit = ours.prefix_hit,
          .wasted = ours.padding + ours.recomputed};
}

implied_figures imply(const served& figures, const simulation_report& report,
                      const std::optional<double>& peak_tokens_per_s) {
  implied_figures made;
  const auto& rate = figures.requests_per_s;
  if (!rate) return made;
  if (figures.latency_ms) made.requests_in_flight = *rate * *figures.latency_ms / 1e3;
  if (figures.usd_per_million_requests)
    made.usd_per_hour = *figures.usd_per_million_requests * *rate * 3600.0 / 1e6;
  const double prompt = report.prompt_tokens_mean, output = report.output_tokens_mean;
  made.tokens_per_s = *rate * (prompt + output);
  if (figures.wasted >= 1.0) return made;
  made.computed_tokens_per_s =
      *rate * (prompt * (1.0 - figures.prefix_hit) + output) / (1.0 - figures.wasted);
  if (peak_tokens_per_s)
    made.peak_percent = *made.computed_tokens_per_s / *peak_tokens_per_s * 100.0;
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
  for (std::size_t i = 0; i < what.ways.size(); ++i) {
    const way& how = what.ways[i];
    if (!how.published.any()) continue;
    const served figures[] = {published_of(what, how), simulated_of(report.ways[i].figures)};
    for (const served& each : figures) {
      rows.push_back(imply(each, report, report.ways[i].peak_tokens_per_s));
      rows.back().way = how.name;
      rows.back().is_published = &each == figures;
    }
  }
  return rows;
}

}  // namespace troupe::simulate
