// The figures against values that numpy gives, and the report against the words and keys of vLLM's
// client.
#include <cmath>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "bench/serve/report.hpp"

namespace {

using namespace troupe;
using namespace troupe::bench;

request_record answered(double start_s, std::vector<double> tokens_at_s) {
  request_record out;
  out.is_ok = out.has_tokens = true;
  out.prompt_tokens = 10;
  out.output_tokens = static_cast<std::uint32_t>(tokens_at_s.size());
  out.start_s = start_s;
  out.first_s = tokens_at_s.front();
  out.last_s = tokens_at_s.back();
  for (std::size_t i = 1; i < tokens_at_s.size(); ++i)
    out.gaps_s.push_back(tokens_at_s[i] - tokens_at_s[i - 1]);
  return out;
}

request_record refused() {
  request_record out;
  out.failure = "overloaded";
  out.lag_s = 0.002;
  return out;
}

load_figures figures_of(const std::vector<request_record>& records,
                        const goodput_bounds& goodput = {}) {
  std::vector<const request_record*> all;
  for (const auto& record : records) all.push_back(&record);
  return summarize(all, {.duration_s = 4.0, .percents = {90.0, 99.9}, .goodput = goodput});
}

const std::vector<request_record> three{answered(0.0, {0.5, 0.75, 1.0}), answered(1.0, {2.0, 3.9}),
                                        answered(1.5, {2.5}), refused()};

}  // namespace

TEST_CASE("percentiles interpolate as numpy does") {
  const std::vector<double> values{1, 2, 4, 8, 16};
  CHECK(percentile(values, 0) == 1.0);
  CHECK(percentile(values, 50) == 4.0);
  CHECK(percentile(values, 90) == Approx(12.8));
  CHECK(percentile(values, 99) == Approx(15.68));
  CHECK(percentile(values, 100) == 16.0);
  CHECK(percentile({3.0}, 99) == 3.0);
  CHECK(percentile({}, 50) == 0.0);
}

TEST_CASE("a distribution's moments") {
  const auto out = describe_times({0.004, 0.001, 0.002, 0.009}, {25.0});
  CHECK(out.mean_ms == Approx(4.0));
  CHECK(out.median_ms == Approx(3.0));
  CHECK(out.std_ms == Approx(std::sqrt(9.5)));
  CHECK(out.percentiles_ms[0].second == Approx(1.75));
  CHECK(describe_times({}, {99.0}).percentiles_ms[0].second == 0.0);
}

TEST_CASE("figures of a small load") {
  const auto out = figures_of(three);
  CHECK(out.completed == 3);
  CHECK(out.failed == 1);
  CHECK(out.input_tokens == 30);
  CHECK(out.output_tokens == 6);
  CHECK(out.request_throughput == Approx(0.75));
  CHECK(out.output_throughput == Approx(1.5));
  CHECK(out.total_token_throughput == Approx(9.0));
  CHECK(out.ttft.mean_ms == Approx(2500.0 / 3));
  CHECK(out.tpot.mean_ms == Approx((250.0 + 1900.0) / 2));
  CHECK(out.itl.median_ms == Approx(250.0));
  CHECK(out.e2el.median_ms == Approx(1000.0));
  CHECK(out.peak_output_tokens_per_s == 2.0);
  CHECK(out.peak_concurrent_requests == 3);
  CHECK(out.largest_lag_ms == Approx(2.0));
  CHECK_FALSE(out.request_goodput);
}

TEST_CASE("goodput counts the requests that stay within all bounds") {
  CHECK(figures_of(three, {.ttft_ms = 600, .tpot_ms = {}, .e2el_ms = {}}).request_goodput == 0.25);
  CHECK(figures_of(three, {.ttft_ms = {}, .tpot_ms = 300, .e2el_ms = {}}).request_goodput == 0.5);
  CHECK(figures_of(three, {.ttft_ms = 5000, .tpot_ms = 5000, .e2el_ms = 1}).request_goodput == 0.0);
}

TEST_CASE("a load of failures only has figures") {
  const auto out = figures_of({refused()});
  CHECK(out.completed == 0);
  CHECK(out.ttft.mean_ms == 0.0);
  CHECK(out.peak_concurrent_requests == 0);
}

TEST_CASE("texts of options") {
  CHECK(parse_metrics("ttft,e2el").value() == std::vector<std::string>{"ttft", "e2el"});
  CHECK(parse_percents("50,99.9").value() == std::vector<double>{50.0, 99.9});
  CHECK(parse_goodput({"ttft:200", "e2el:5000"})->ttft_ms == 200.0);
  for (const char* text : {"", "ttft,", "TTFT", "speed"}) CHECK_FALSE(parse_metrics(text));
  for (const char* text : {"", "101", "-1", "x", "9 "}) CHECK_FALSE(parse_percents(text));
  for (const char* text : {"ttft", "ttft:", "itl:3", "ttft:-1", ":3", "tpot:nan"})
    CHECK_FALSE(parse_goodput({text}));
}

TEST_CASE("the report speaks as vLLM's client") {
  load_report report;
  report.setup.rate_per_s = INFINITY;
  report.setup.concurrency_max = 2;
  report.metrics = {"ttft", "itl"};
  report.figures = figures_of(three, {.ttft_ms = 600, .tpot_ms = {}, .e2el_ms = {}});
  report.lanes[lane::vip] = figures_of({three[0]});
  report.failures = {"overloaded"};
  const std::string text = report_text(report);
  for (const char* line : {"============ Serving Benchmark Result ============\n",
                           "Successful requests:                     3         \n",
                           "Maximum request concurrency:             2         \n",
                           "Request goodput (req/s):                 0.25      \n",
                           "Output token throughput (tok/s):         1.50      \n",
                           "---------------Time to First Token----------------\n",
                           "P99.9 ITL (ms):", "==================== Lane vip ===================="})
    CHECK_THAT(text, Catch::Contains(line));
  CHECK_THAT(text, !Catch::Contains("TPOT"));
  CHECK_THAT(text, !Catch::Contains("RPS"));
  const auto tree = nlohmann::json::parse(report_json(report));
  CHECK(tree["completed"] == 3);
  CHECK(tree["request_rate"] == "inf");
  CHECK(tree["request_goodput"] == 0.25);
  CHECK(tree["mean_ttft_ms"].get<double>() == Approx(2500.0 / 3));
  CHECK(tree.contains("p99.9_itl_ms"));
  CHECK(tree["lanes"]["vip"]["completed"] == 1);
  CHECK(tree["errors"][0] == "overloaded");
}
