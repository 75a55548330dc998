// The metrics' names, labels and units as Prometheus would scrape them, and that totals of the
// scheduler are added as increases, also across its restart.
#include "runtime/observe/metrics.hpp"

#include <thread>
#include <vector>

#include <catch2/catch.hpp>

namespace troupe {
namespace {

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

TEST_CASE("the exposition has every name, with its type and labels") {
  metrics measured("tiny", 2048);
  const std::string text = measured.exposition();
  const std::vector<std::pair<std::string, std::string>> expected{
      {"num_requests_running", "gauge"},
      {"num_requests_waiting", "gauge"},
      {"kv_cache_usage_perc", "gauge"},
      {"cost_model_error", "gauge"},
      {"cost_model_ms", "gauge"},
      {"step_work_total", "counter"},
      {"prefix_cache_queries_total", "counter"},
      {"prefix_cache_hits_total", "counter"},
      {"num_preemptions_total", "counter"},
      {"kv_offload_dropped_blocks_total", "counter"},
      {"prompt_tokens_total", "counter"},
      {"generation_tokens_total", "counter"},
      {"request_success_total", "counter"},
      {"requests_refused_total", "counter"},
      {"time_to_first_token_seconds", "histogram"},
      {"inter_token_latency_seconds", "histogram"},
      {"e2e_request_latency_seconds", "histogram"},
      {"request_queue_time_seconds", "histogram"},
      {"iteration_tokens_total", "histogram"},
      {"request_prompt_tokens", "histogram"},
      {"request_generation_tokens", "histogram"},
      {"lane_queue_time_seconds", "histogram"},
      {"lane_intake_seconds", "histogram"},
      {"lane_sla_attainment", "gauge"},
      {"lane_sla_requests_total", "counter"},
      {"dollars_per_1k_tokens", "gauge"},
      {"requests_demoted_total", "counter"},
      {"step_compute_seconds", "histogram"},
      {"step_overhead_seconds", "histogram"}};
  for (const auto& [name, type] : expected) {
    INFO(name);
    CHECK(has_line(text, "# TYPE troupe:" + name + " " + type));
  }
  CHECK(text.find("model_name=\"tiny\"") != std::string::npos);
  CHECK(text.find("lane=\"vip\"") != std::string::npos);
  // 1-2-5 boundaries stop at the longest request.
  CHECK(text.find("le=\"2000\"") != std::string::npos);
  CHECK(text.find("le=\"5000\"") == std::string::npos);
}

TEST_CASE("scheduler totals become increases") {
  metrics measured("tiny");
  scheduler_counts counts;
  counts.running = {1, 2, 3};
  counts.waiting = {0, 0, 7};
  counts.blocks_total = 100;
  counts.blocks_referenced = 25;
  counts.preemptions = 4;
  counts.prefix_query_tokens = 1000;
  counts.prefix_hit_tokens = 600;
  measured.set_counts(counts);
  measured.set_counts(counts);
  auto values = measured.values();
  CHECK(values.at("num_requests_running") == 6.0);
  CHECK(values.at("num_requests_waiting") == 7.0);
  CHECK(values.at("kv_cache_usage_perc") == Approx(0.25));
  CHECK(values.at("num_preemptions_total") == 4.0);
  CHECK(values.at("prefix_cache_queries_total") == 1000.0);

  counts.preemptions = 1;  // a restarted scheduler
  counts.prefix_query_tokens = 1100;
  measured.set_counts(counts);
  values = measured.values();
  CHECK(values.at("num_preemptions_total") == 5.0);
  CHECK(values.at("prefix_cache_queries_total") == 1100.0);
  CHECK(values.at("prefix_cache_hits_total") == 600.0);
}

TEST_CASE("the cost model's parts and error are the last ones that were set") {
  metrics measured("tiny");
  CHECK(measured.values().at("cost_model_error") == 0.0);
  measured.set_cost_model({}, 0.5);
  measured.set_cost_model({.step_ms = 1.5, .decode_pair_us = 250.0}, 0.0625);
  CHECK(measured.values().at("cost_model_error") == 0.0625);
  const std::string text = measured.exposition();
  CHECK(has_line(text, "troupe:cost_model_error{model_name=\"tiny\"} 0.0625"));
  CHECK(has_line(text, "troupe:cost_model_ms{model_name=\"tiny\",part=\"step\"} 1.5"));
  CHECK(has_line(text, "troupe:cost_model_ms{model_name=\"tiny\",part=\"decode_pair\"} 0.25"));
  CHECK(measured.values().count("cost_model_ms") == 0);
}

TEST_CASE("the end of a request is counted once, under a known reason") {
  metrics measured("tiny");
  request_facts done;
  done.service = lane::vip;
  done.finish_reason = "length";
  done.prompt_tokens = 10;
  done.output_tokens = done.longest_output = 5;
  done.end = std::chrono::milliseconds{400};
  measured.observe_request_end(done);
  request_facts odd;
  odd.service = lane::async;
  odd.finish_reason = "a surprise";
  odd.prompt_tokens = 1;
  measured.observe_request_end(odd);
  const std::string text = measured.exposition();
  CHECK(measured.values().at("request_success_total") == 2.0);
  CHECK(measured.values().at("prompt_tokens_total") == 11.0);
  CHECK(text.find("a surprise") == std::string::npos);
  CHECK(text.find("troupe:request_success_total{model_name=\"tiny\",finished_reason=\"length\","
                  "lane=\"vip\"} 1") != std::string::npos);
  CHECK(text.find("troupe:request_success_total{model_name=\"tiny\",finished_reason=\"error\",lane="
                  "\"async\"} 1") != std::string::npos);
}

TEST_CASE("refusals keep to the known codes") {
  metrics measured("tiny");
  measured.observe_refused(lane::realtime, "overloaded");
  measured.observe_refused(lane::realtime, "no such code");
  const std::string text = measured.exposition();
  CHECK(text.find("code=\"overloaded\",lane=\"realtime\"} 1") != std::string::npos);
  CHECK(text.find("code=\"internal\",lane=\"realtime\"} 1") != std::string::npos);
  CHECK(text.find("no such code") == std::string::npos);
}

TEST_CASE("promises and prices are reported by lane") {
  monotonic_time now{};
  service_terms terms;
  terms.price_per_hour = 3.6;
  terms.now = [&now] { return now; };
  metrics measured("tiny", 2048, terms);
  CHECK(measured.values().at("lane_sla_attainment.vip") == 1.0);
  CHECK(measured.values().at("dollars_per_1k_tokens.vip") == 0.0);

  request_facts facts;
  facts.service = lane::vip;
  facts.finish_reason = "stop";
  facts.prompt_tokens = 500;
  facts.output_tokens = facts.longest_output = 2;
  facts.first_token = std::chrono::milliseconds{150};
  facts.end = std::chrono::milliseconds{160};
  measured.observe_request_end(facts);
  measured.observe_refused(lane::vip, "overloaded");
  measured.observe_refused(lane::vip, "rate_limited");
  measured.add_generation_tokens(lane::vip, 500);
  measured.add_generation_tokens(lane::async, 1000);
  now = std::chrono::seconds{1000};  // 1 dollar; vip bears half
  const auto values = measured.values();
  CHECK(values.at("lane_sla_attainment.vip") == 0.5);
  CHECK(values.at("dollars_per_1k_tokens.vip") == Approx(1.0));
  CHECK(values.at("dollars_per_1k_tokens.async") == Approx(0.5));
  CHECK_FALSE(values.contains("lane_sla_attainment"));
  const std::string text = measured.exposition();
  CHECK(has_line(text, "troupe:lane_sla_attainment{model_name=\"tiny\",lane=\"vip\"} 0.5"));
  CHECK(text.find("lane=\"vip\",verdict=\"not_counted\"} 1") != std::string::npos);
}

TEST_CASE("a lane without a target reports no promise") {
  service_terms terms;
  terms.lanes[to_index(lane::vip)].ttft_ms = terms.lanes[to_index(lane::vip)].tpot_ms = 0;
  terms.lanes[to_index(lane::async)].tpot_ms = 100;
  metrics measured("tiny", 2048, terms);
  request_facts facts;
  facts.finish_reason = "stop";
  for (const lane service : all_lanes) {
    facts.service = service;
    measured.observe_request_end(facts);
    measured.observe_refused(service, "overloaded");
  }
  const auto values = measured.values();
  CHECK_FALSE(values.contains("lane_sla_attainment.vip"));
  CHECK_FALSE(values.contains("lane_sla_attainment.realtime"));
  CHECK(values.at("lane_sla_attainment.async") == 0.5);
  CHECK(values.at("lane_sla_requests_total") == 2.0);
  const std::string text = measured.exposition();
  for (const auto* service : {"vip", "realtime"}) {
    const std::string labels = "{model_name=\"tiny\",lane=\"" + std::string(service) + "\"";
    CHECK(text.find("troupe:lane_sla_attainment" + labels) == std::string::npos);
    CHECK(text.find("troupe:lane_sla_requests_total" + labels) == std::string::npos);
  }
}

TEST_CASE("milliseconds become seconds, and recording is thread-safe") {
  metrics measured("tiny");
  step_shape shape;
  shape.add(7, 0, 1);
  shape.add(1, 9, 1);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        measured.observe_step(shape, 20.0, 0.5);
        measured.add_generation_tokens(lane::realtime, 2);
        measured.observe_first_token(lane::vip, 0.05);
      }
    });
  }
  threads.clear();
  const std::string text = measured.exposition();
  CHECK(measured.values().at("generation_tokens_total") == 8000.0);
  for (const std::string line :
       {"step\"} 4000", "row_tile\"} 4000", "row\"} 32000", "logit_row\"} 8000",
        "decode_pair\"} 40000", "prefill_pair\"} 112000"})
    CHECK(has_line(text, "troupe:step_work_total{model_name=\"tiny\",part=\"" + line));
  CHECK(text.find("troupe:step_compute_seconds_count{model_name=\"tiny\"} 4000") !=
        std::string::npos);
  CHECK(text.find("troupe:step_compute_seconds_bucket{model_name=\"tiny\",le=\"0.02\"} 4000") !=
        std::string::npos);
  CHECK(text.find("troupe:step_compute_seconds_bucket{model_name=\"tiny\",le=\"0.01\"} 0") !=
        std::string::npos);
}

}  // namespace
}  // namespace troupe
