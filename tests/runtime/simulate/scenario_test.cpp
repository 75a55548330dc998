// Scenario files: the ones that are shipped are read and run, hostile and mistaken ones get an
// error that names the line and the key.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "runtime/simulate/report.hpp"

using namespace troupe;
using namespace troupe::simulate;

namespace {

const std::string small = R"(
name: small
requests: 200
arrivals: {process: poisson, rate_per_s: 20}
lengths:
  prompt: {kind: lognormal, mean_tokens: 50, sigma: 0.5, max_tokens: 500}
  output: {mean_tokens: 10}
lanes:
  vip: {share: 0.25, ttft_ms: 100}
  async: {share: 0.75}
ways:
  - name: here
    hardware: {fitted: {step_ms: 2, row_ms: 0.1}, usd_per_hour: 3.6}
    engine: {block_count: 500, max_model_len: 1000}
    published:
      requests_per_s: {value: 10, why: rates}
      latency_ms: {value: 500, why: latencies}
      usd_per_million_requests: {value: 100, why: prices}
  - name: old
    policy: static
    hardware: {fitted: {step_ms: 2, row_ms: 0.1}, usd_per_hour: 3.6}
    engine: {block_count: 500}
    batches: {size: 4, reserved_tokens: 1000}
published:
  - {way: here, against: old, figure: kv_fragmentation, percent: 38, why: "<b>because</b>"}
)";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t place = text.find(from);
  REQUIRE(place != std::string::npos);
  return text.replace(place, from.size(), to);
}

std::string message_of(const std::string& yaml) {
  const auto made = parse_scenario(yaml, "s.yaml");
  REQUIRE(!made.has_value());
  return made.failure().message;
}

simulation_report run(const scenario& what) {
  return simulate::simulate(what, {}, [](const std::string&) {}).value();
}

}  // namespace

TEST_CASE("a scenario is run each of its ways, and reported three times", "[simulate]") {
  const auto what = parse_scenario(small, "s.yaml").value();
  const auto report = run(what);
  REQUIRE(report.ways.size() == 2);
  const auto& here = report.ways[0].figures;
  CHECK(here.all.completed == 200);
  CHECK(here.lanes[to_index(lane::vip)].completed + here.lanes[to_index(lane::async)].completed ==
        200);
  CHECK(here.lanes[to_index(lane::vip)].all_kept.value() == Approx(1.0).margin(0.2));
  CHECK_FALSE(here.lanes[to_index(lane::async)].all_kept.has_value());
  CHECK(here.kv_fragmentation < report.ways[1].figures.kv_fragmentation);

  const auto implied = implied_rows(what, report);
  REQUIRE(implied.size() == 2);
  CHECK(implied[0].is_published);
  CHECK(implied[0].requests_in_flight.value() == Approx(5.0));
  CHECK(implied[0].usd_per_hour.value() == Approx(3.6));
  CHECK(implied[0].tokens_per_s.value() ==
        Approx(10.0 * (report.prompt_tokens_mean + report.output_tokens_mean)));
  CHECK(implied[0].computed_tokens_per_s.value() == Approx(implied[0].tokens_per_s.value()));
  CHECK_FALSE(implied[0].peak_percent.has_value());  // a fitted machine has no data sheet
  // Ours: the price is that of the machine, whatever the load.
  CHECK(implied[1].usd_per_hour.value() == Approx(3.6));
  const auto rows = published_rows(what, report);
  REQUIRE(rows.size() == 4);
  CHECK(rows[1].why == "latencies");
  CHECK(rows[1].ratio().value() == Approx(here.all.e2e.mean / 500.0));
  CHECK(rows[3].simulated.value() > 50.0);

  const auto json = nlohmann::json::parse(report_json(what, report));
  CHECK(json["ways"][0]["all"]["completed"] == 200);
  CHECK(json["ways"][0]["lanes"]["vip"]["attainment"]["ttft"].is_number());
  CHECK(json["published"].size() == 4);
  CHECK(json["implied"][0]["peak_percent"].is_null());
  const std::string page = report_html(what, report), table = report_table(what, report);
  CHECK(table.find("requests per second") != std::string::npos);
  CHECK(table.find("\n    latencies\n") != std::string::npos);
  CHECK(page.find("<svg") != std::string::npos);
  CHECK(page.find("&lt;b&gt;because") != std::string::npos);
  for (const std::string_view foreign : {"<script", "http:", "https:", "<b>because", "nan", "inf,"})
    CHECK(page.find(foreign) == std::string::npos);
  CHECK(report_json(what, run(what)) == report_json(what, report));
}

TEST_CASE("mistakes are answered with the line and what was meant", "[simulate]") {
  CHECK(message_of(replaced(small, "requests:", "request:")) ==
        "s.yaml:3: unknown key \"request\"; did you mean \"requests\"?");
  CHECK(message_of(replaced(small, "sigma:", "sigmma:")) ==
        "s.yaml:6: unknown key \"lengths.prompt.sigmma\"; did you mean \"lengths.prompt.sigma\"?");
  CHECK(message_of(replaced(small, "mean_tokens: 50", "mean_tokens: many"))
            .find("lengths.prompt.mean_tokens must be a number") != std::string::npos);
  CHECK(message_of(replaced(small, "requests: 200", "requests: 0")).find("an integer from 1") !=
        std::string::npos);
  CHECK(message_of(replaced(small, "share: 0.25", "share: 0.5")).find("must sum to 1") !=
        std::string::npos);
  CHECK(
      message_of(replaced(small, "poisson, rate_per_s: 20", "poisson")).find("needs rate_per_s") !=
      std::string::npos);
  CHECK(message_of(replaced(small, "policy: static", "policy: dynamic"))
            .find("one of troupe, static") != std::string::npos);
  CHECK(message_of(replaced(small, "against: old", "against: older")).find("name ways") !=
        std::string::npos);
  CHECK(message_of(replaced(small, ", why: rates", "")).find("why the simulated one differs") !=
        std::string::npos);
  CHECK(message_of(replaced(small, ", why: \"<b>because</b>\"", "")).find("how the two relate") !=
        std::string::npos);
  CHECK(message_of(replaced(small, "async: {share: 0.75}",
                            "async: {share: 0.75, deadline_ms: 9, deadline_ms_max: 8}"))
            .find("from deadline_ms to deadline_ms_max") != std::string::npos);
  CHECK(message_of(replaced(small, "max_model_len: 1000}",
                            "max_model_len: 1000, lanes: {vip: {reserved_fraction: 0.8}}}"))
            .find("reserve more than 0.9") != std::string::npos);
  CHECK(message_of(replaced(small, "- name: here", "- name: here\n    one_lane: fast"))
            .find("one of vip, realtime, async") != std::string::npos);
  CHECK(message_of(replaced(small, "fitted: {step_ms: 2, row_ms: 0.1}", "card: h200"))
            .find("h100_sxm5, a800_nvlink") != std::string::npos);
  CHECK(message_of(replaced(small, "requests: 200", "requests: 200\nrequests: 300"))
            .find("requests is set twice") != std::string::npos);
  CHECK(message_of("").find("document") != std::string::npos);
  CHECK(message_of("[1, 2]").find("must be a map") != std::string::npos);
  CHECK(message_of("name: x").find("no way to serve") != std::string::npos);
  CHECK(message_of("ways: {a: b}").find("ways must be a list") != std::string::npos);
  CHECK(message_of("name: [").find("s.yaml:") != std::string::npos);
}

TEST_CASE("what a machine cannot do is said", "[simulate]") {
  const std::string card =
      replaced(small, "fitted: {step_ms: 2, row_ms: 0.1}, usd_per_hour: 3.6", "card: a800_nvlink");
  CHECK(message_of(card).find("a card needs the model's") != std::string::npos);
  const std::string model =
      "\nmodel: {parameters_billion: 7, layers: 32, hidden: 4096, heads: 32, kv_heads: 8, "
      "head_dim: 128, vocab: 32000, weights: fp8}\n";
  const auto what = parse_scenario(card + model, "s.yaml").value();
  const auto made = simulate::simulate(what, {}, [](const std::string&) {});
  CHECK(made.failure().message == "here: NVIDIA A800 SXM 80 GB, NVLink has no fp8 units");
  const auto large = parse_scenario(
      card + replaced(replaced(model, "fp8", "bf16"), "billion: 7", "billion: 70"), "s.yaml");
  CHECK(simulate::simulate(large.value(), {}, [](const std::string&) {})
            .failure()
            .message.find("do not fit 1 x 80 GiB") != std::string::npos);
}

TEST_CASE("damaged scenarios never end the process", "[simulate]") {
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    std::string text = small;
    const int changes = 1 + static_cast<int>(random() % 4);
    for (int i = 0; i < changes; ++i) {
      const std::size_t place = random() % text.size();
      switch (random() % 3) {
        case 0: text[place] = static_cast<char>(random() % 256); break;
        case 1: text.erase(place, random() % 8); break;
        case 2: text.insert(place, 1, "{}[]:,&*!|>-\n \"'#%@0"[random() % 20]); break;
      }
    }
    const auto made = parse_scenario(text, "s.yaml");
    if (!made) CHECK_FALSE(made.failure().message.empty());
  }
}

TEST_CASE("the page's scenario is read, and runs on a few requests", "[simulate]") {
  std::ifstream stream(std::string(TROUPE_SOURCE_DIR) + "/docs/simulate.md");
  const std::string page{std::istreambuf_iterator<char>(stream), {}};
  const std::string_view opening = "```yaml\n";
  const std::size_t start = page.find(opening) + opening.size();
  const std::size_t length = page.find("```", start) - start;
  auto what = parse_scenario(page.substr(start, length), "docs/simulate.md").value();
  what.load.request_count = 300;
  for (const auto& each : run(what).ways) CHECK(each.figures.all.count() == 300);
}

TEST_CASE("the scenarios that are shipped are read, and run on a few requests", "[simulate]") {
  std::size_t count = 0;
  for (const auto& file :
       std::filesystem::directory_iterator(std::string(TROUPE_SOURCE_DIR) + "/scenarios")) {
    if (file.path().extension() != ".yaml") continue;
    ++count;
    std::ifstream stream(file.path());
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    auto what = parse_scenario(text, file.path().string()).value();
    what.load.request_count = 300;
    if (what.lengths != length_source::drawn) continue;  // its data are not shipped
    const auto report = run(what);
    for (const auto& each : report.ways) CHECK(each.figures.all.count() == 300);
  }
  CHECK(count >= 3);
}
