#include <nlohmann/json.hpp>

#include "runtime/simulate/report.hpp"

namespace troupe::simulate {
namespace {

using json = nlohmann::ordered_json;

json times_json(const time_distribution& times) {
  const auto value = [&](double ms) { return times.is_empty() ? json(nullptr) : json(ms); };
  return {{"mean", value(times.mean)},
          {"p50", value(times.p50)},
          {"p90", value(times.p90)},
          {"p95", value(times.p95)},
          {"p99", value(times.p99)}};
}

json share_json(const std::optional<double>& value) {
  return value ? json(*value) : json(nullptr);
}

json lane_json(const lane_figures& figures) {
  return {{"completed", figures.completed},
          {"refused", figures.refused},
          {"deadlines",
           {{"met", figures.deadlines_met},
            {"refused", figures.deadlines_refused},
            {"missed", figures.deadlines_missed}}},
          {"wait_ms", times_json(figures.wait)},
          {"oldest_wait_ms", figures.oldest_wait_ms},
          {"held_ms_max", figures.held_ms_max},
          {"overtaken_by_ms_max", figures.overtaken_by_ms_max},
          {"prompt_tokens", figures.prompt_tokens},
          {"output_tokens", figures.output_tokens},
          {"ttft_ms", times_json(figures.ttft)},
          {"tpot_ms", times_json(figures.tpot)},
          {"e2e_ms", times_json(figures.e2e)},
          {"attainment",
           {{"ttft", share_json(figures.ttft_kept)},
            {"tpot", share_json(figures.tpot_kept)},
            {"e2e", share_json(figures.e2e_kept)},
            {"all", share_json(figures.all_kept)}}}};
}

json published_json(const published_row& row) {
  return {{"way", row.way},
          {"figure", row.figure},
          {"simulated", share_json(row.simulated)},
          {"published", row.published},
          {"ratio", share_json(row.ratio())},
          {"why", row.why}};
}

json implied_json(const implied_figures& row) {
  return {{"way", row.way},
          {"by", row.is_published ? "published" : "simulated"},
          {"requests_in_flight", share_json(row.requests_in_flight)},
          {"usd_per_hour", share_json(row.usd_per_hour)},
          {"tokens_per_s", share_json(row.tokens_per_s)},
          {"computed_tokens_per_s", share_json(row.computed_tokens_per_s)},
          {"peak_percent", share_json(row.peak_percent)}};
}

json way_json(const way& how, const way_report& made) {
  const run_figures& figures = made.figures;
  json lanes = json::object();
  for (const lane each : all_lanes)
    lanes[std::string(to_string(each))] = lane_json(figures.lanes[to_index(each)]);
  return {{"name", how.name},
          {"title", how.title},
          {"duration_s", figures.duration_s},
          {"requests_per_s", figures.requests_per_s},
          {"output_tokens_per_s", figures.output_tokens_per_s},
          {"tokens_per_s", figures.tokens_per_s},
          {"all", lane_json(figures.all)},
          {"lanes", std::move(lanes)},
          {"shares",
           {{"busy", figures.busy},
            {"utilization", figures.utilization},
            {"startup", figures.startup},
            {"overhead", figures.overhead},
            {"padding", figures.padding},
            {"recomputed", figures.recomputed},
            {"batch_fill", figures.batch_fill},
            {"kv_fragmentation", figures.kv_fragmentation},
            {"prefix_hit", figures.prefix_hit}}},
          {"seats", made.seats},
          {"kv_positions", made.kv_positions},
          {"steps", figures.steps},
          {"preemptions", figures.preemptions},
          {"usd_per_hour", made.usd_per_hour},
          {"usd_per_1k_tokens", figures.usd_per_1k_tokens},
          {"usd_per_1k_output_tokens", figures.usd_per_1k_output_tokens},
          {"usd_per_million_requests", figures.usd_per_million_requests}};
}

}  // namespace

std::string report_json(const scenario& what, const simulation_report& report) {
  json ways = json::array(), published = json::array(), implied = json::array();
  for (std::size_t i = 0; i < what.ways.size(); ++i)
    ways.push_back(way_json(what.ways[i], report.ways[i]));
  for (const published_row& each : published_rows(what, report))
    published.push_back(published_json(each));
  for (const implied_figures& each : implied_rows(what, report))
    implied.push_back(implied_json(each));
  const json made{{"scenario", what.name},
                  {"seed", what.seed},
                  {"requests", report.request_count},
                  {"prompt_tokens_mean", report.prompt_tokens_mean},
                  {"output_tokens_mean", report.output_tokens_mean},
                  {"ways", std::move(ways)},
                  {"published", std::move(published)},
                  {"implied", std::move(implied)}};
  // A scenario's texts may be any bytes.
  return made.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace troupe::simulate
