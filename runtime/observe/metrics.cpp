#include "runtime/observe/metrics.hpp"

#include <algorithm>
#include <mutex>
#include <vector>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace troupe {
namespace {

using prometheus::Counter;
using prometheus::Gauge;
using prometheus::Histogram;
using boundaries = Histogram::BucketBoundaries;

constexpr std::string_view name_prefix = "troupe:";

// Boundaries of vLLM (vllm/v1/metrics), so that dashboards made for it read ours.
const boundaries first_token_seconds{0.001, 0.005, 0.01, 0.02, 0.04, 0.06,  0.08, 0.1,
                                     0.25,  0.5,   0.75, 1.0,  2.5,  5.0,   7.5,  10.0,
                                     20.0,  40.0,  80.0, 160., 640., 2560.0};
const boundaries inter_token_seconds{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,  0.3,  0.4, 0.5,
                                     0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20.0, 40.0, 80.0};
const boundaries request_seconds{0.3,  0.5,   0.8,   1.0,   1.5,   2.0,    2.5,
                                 5.0,  10.0,  15.0,  20.0,  30.0,  40.0,   50.0,
                                 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
const boundaries step_tokens{1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
// vLLM has no such histograms. A step is bound to 30 or 100 ms (design, section 3) and its overhead
// should stay below a millisecond, so that the boundaries are dense there.
const boundaries compute_seconds{0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1,
                                 0.15,  0.2,    0.3,   0.5,  0.75, 1.0,  2.5,  5.0,   10.0};
const boundaries overhead_seconds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                  0.025,  0.05,    0.1,    0.25,  0.5,    1.0};

/// 1, 2, 5, 10, 20, 50 ... up to the longest request.
boundaries one_two_five(double value_max) {
  boundaries values;
  for (double decade = 1.0; decade <= value_max; decade *= 10.0) {
    for (const double digit : {1.0, 2.0, 5.0}) {
      if (decade * digit <= value_max) values.push_back(decade * digit);
    }
  }
  return values;
}

constexpr std::array<std::string_view, 4> finish_reasons{"stop", "length", "abort", "error"};

constexpr std::array<errc, 13> error_codes{
    errc::invalid_argument, errc::not_found,   errc::already_exists,    errc::unauthorized,
    errc::out_of_memory,    errc::overloaded,  errc::slow_client,       errc::corrupt,
    errc::unsupported,      errc::unavailable, errc::deadline_exceeded, errc::aborted,
    errc::internal};

template <class Metric>
using by_lane = std::array<Metric*, lane_count>;

/// The totals of the scheduler that were already added to the counters.
struct seen_totals {
  std::uint64_t preemptions = 0, prefix_queries = 0, prefix_hits = 0;
  std::uint64_t offloaded = 0, uploaded = 0;
};

/// A total that went down belongs to a restarted scheduler, which counts from zero.
double take_increase(std::uint64_t& seen, std::uint64_t total) {
  const std::uint64_t increase = total >= seen ? total - seen : total;
  seen = total;
  return static_cast<double>(increase);
}

}  // namespace

struct metrics::state {
  state(std::string_view model_name, std::uint32_t max_model_len)
      : constant_labels{{"model_name", std::string(model_name)}} {
    num_requests_running = gauges("num_requests_running", "Requests that hold blocks.");
    num_requests_waiting = gauges("num_requests_waiting", "Requests that wait in a lane queue.");
    kv_cache_usage = &prometheus::BuildGauge()
                          .Name(named("kv_cache_usage_perc"))
                          .Help("Blocks that sequences refer to, as a fraction of all (1 = full).")
                          .Labels(constant_labels)
                          .Register(registry)
                          .Add({});
    cost_model_error = &prometheus::BuildGauge()
                            .Name(named("cost_model_error"))
                            .Help(
                                "Median relative error of the predicted compute time of recent "
                                "steps (0.1 = 10 %).")
                            .Labels(constant_labels)
                            .Register(registry)
                            .Add({});
    prefix_queries =
        counter("prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.");
    prefix_hits = counter("prefix_cache_hits_total", "Prompt tokens found in the prefix cache.");
    preemptions = counter("num_preemptions_total", "Sequences that gave their blocks to others.");
    offload_stored = counter("kv_offload_stored_blocks_total",
                             "Evicted blocks copied to the tier below the device.");
    offload_hits = counter("kv_offload_hit_blocks_total",
                           "Blocks taken back from that tier instead of being computed.");
    prompt_tokens = counters("prompt_tokens_total", "Prompt tokens of requests that ended.");
    generation_tokens = counters("generation_tokens_total", "Tokens generated.");
    time_to_first_token =
        histograms("time_to_first_token_seconds", "Arrival to first token.", first_token_seconds);
    inter_token_latency = histograms("inter_token_latency_seconds", "Between tokens of a sequence.",
                                     inter_token_seconds);
    e2e_latency = histograms("e2e_request_latency_seconds", "Arrival to the end of a request.",
                             request_seconds);
    queue_time =
        histograms("request_queue_time_seconds", "Arrival to first step.", request_seconds);
    const boundaries token_counts = one_two_five(static_cast<double>(max_model_len));
    request_prompt_tokens =
        histograms("request_prompt_tokens", "Prompt tokens of a request.", token_counts);
    request_generation_tokens =
        histograms("request_generation_tokens", "Generated tokens of a request.", token_counts);
    iteration_tokens = histogram("iteration_tokens_total", "Tokens in a step.", step_tokens);
    step_compute = histogram("step_compute_seconds", "Compute time of a step.", compute_seconds);
    step_overhead = histogram("step_overhead_seconds", "Time between steps that was not compute.",
                              overhead_seconds);
    build_request_success();
    build_requests_refused();
  }

  static std::string named(std::string_view name) { return std::string(name_prefix).append(name); }

  static prometheus::Labels lane_label(lane service) {
    return {{"lane", std::string(to_string(service))}};
  }

  Counter* counter(std::string_view name, const char* help) {
    return &counter_family(name, help).Add({});
  }
  prometheus::Family<Counter>& counter_family(std::string_view name, const char* help) {
    return prometheus::BuildCounter()
        .Name(named(name))
        .Help(help)
        .Labels(constant_labels)
        .Register(registry);
  }
  by_lane<Counter> counters(std::string_view name, const char* help) {
    auto& family = counter_family(name, help);
    by_lane<Counter> made{};
    for (const lane service : all_lanes) made[to_index(service)] = &family.Add(lane_label(service));
    return made;
  }
  by_lane<Gauge> gauges(std::string_view name, const char* help) {
    auto& family = prometheus::BuildGauge()
                       .Name(named(name))
                       .Help(help)
                       .Labels(constant_labels)
                       .Register(registry);
    by_lane<Gauge> made{};
    for (const lane service : all_lanes) made[to_index(service)] = &family.Add(lane_label(service));
    return made;
  }
  prometheus::Family<Histogram>& histogram_family(std::string_view name, const char* help) {
    return prometheus::BuildHistogram()
        .Name(named(name))
        .Help(help)
        .Labels(constant_labels)
        .Register(registry);
  }
  Histogram* histogram(std::string_view name, const char* help, const boundaries& buckets) {
    return &histogram_family(name, help).Add({}, buckets);
  }
  by_lane<Histogram> histograms(std::string_view name, const char* help,
                                const boundaries& buckets) {
    auto& family = histogram_family(name, help);
    by_lane<Histogram> made{};
    for (const lane service : all_lanes) {
      made[to_index(service)] = &family.Add(lane_label(service), buckets);
    }
    return made;
  }

  void build_request_success() {
    auto& family =
        counter_family("request_success_total", "Requests that ended, by how they ended.");
    for (const lane service : all_lanes) {
      for (std::size_t i = 0; i < finish_reasons.size(); ++i) {
        auto labels = lane_label(service);
        labels["finished_reason"] = std::string(finish_reasons[i]);
        request_success[to_index(service)][i] = &family.Add(labels);
      }
    }
  }
  void build_requests_refused() {
    auto& family = counter_family("requests_refused_total", "Requests that were never admitted.");
    for (const lane service : all_lanes) {
      for (std::size_t i = 0; i < error_codes.size(); ++i) {
        auto labels = lane_label(service);
        labels["code"] = std::string(to_string(error_codes[i]));
        requests_refused[to_index(service)][i] = &family.Add(labels);
      }
    }
  }

  prometheus::Registry registry;
  prometheus::Labels constant_labels;
  by_lane<Gauge> num_requests_running{}, num_requests_waiting{};
  Gauge *kv_cache_usage = nullptr, *cost_model_error = nullptr;
  Counter *prefix_queries = nullptr, *prefix_hits = nullptr, *preemptions = nullptr;
  Counter *offload_stored = nullptr, *offload_hits = nullptr;
  by_lane<Counter> prompt_tokens{}, generation_tokens{};
  by_lane<Histogram> time_to_first_token{}, inter_token_latency{}, e2e_latency{}, queue_time{};
  by_lane<Histogram> request_prompt_tokens{}, request_generation_tokens{};
  Histogram *iteration_tokens = nullptr, *step_compute = nullptr, *step_overhead = nullptr;
  std::array<std::array<Counter*, finish_reasons.size()>, lane_count> request_success{};
  std::array<std::array<Counter*, error_codes.size()>, lane_count> requests_refused{};

  std::mutex totals_mutex;
  seen_totals totals;
};

metrics::metrics(std::string_view model_name, std::uint32_t max_model_len)
    : state_(std::make_unique<state>(model_name, max_model_len)) {}
metrics::~metrics() = default;

void metrics::set_counts(const scheduler_counts& counts) {
  for (const lane service : all_lanes) {
    const std::size_t i = to_index(service);
    state_->num_requests_running[i]->Set(counts.running[i]);
    state_->num_requests_waiting[i]->Set(counts.waiting[i]);
  }
  const double total = std::max<std::uint32_t>(counts.blocks_total, 1);
  state_->kv_cache_usage->Set(static_cast<double>(counts.blocks_referenced) / total);

  const std::lock_guard lock(state_->totals_mutex);
  seen_totals& seen = state_->totals;
  state_->preemptions->Increment(take_increase(seen.preemptions, counts.preemptions));
  state_->prefix_queries->Increment(take_increase(seen.prefix_queries, counts.prefix_query_tokens));
  state_->prefix_hits->Increment(take_increase(seen.prefix_hits, counts.prefix_hit_tokens));
  state_->offload_stored->Increment(take_increase(seen.offloaded, counts.offloaded_blocks));
  state_->offload_hits->Increment(take_increase(seen.uploaded, counts.uploaded_blocks));
}

void metrics::observe_step(std::uint32_t tokens, double compute_ms, double overhead_ms) {
  state_->iteration_tokens->Observe(tokens);
  state_->step_compute->Observe(compute_ms / 1000.0);
  state_->step_overhead->Observe(overhead_ms / 1000.0);
}

void metrics::set_cost_model_error(double error) {
  state_->cost_model_error->Set(error);
}

void metrics::observe_first_token(lane service, double seconds) {
  state_->time_to_first_token[to_index(service)]->Observe(seconds);
}

void metrics::observe_inter_token(lane service, double seconds) {
  state_->inter_token_latency[to_index(service)]->Observe(seconds);
}

void metrics::observe_queue_time(lane service, double seconds) {
  state_->queue_time[to_index(service)]->Observe(seconds);
}

void metrics::add_generation_tokens(lane service, std::uint64_t count) {
  state_->generation_tokens[to_index(service)]->Increment(static_cast<double>(count));
}

void metrics::observe_request_end(const request_end& end) {
  const std::size_t i = to_index(end.service);
  const auto prompt_tokens = static_cast<double>(end.prompt_tokens);
  state_->prompt_tokens[i]->Increment(prompt_tokens);
  state_->request_prompt_tokens[i]->Observe(prompt_tokens);
  state_->request_generation_tokens[i]->Observe(static_cast<double>(end.completion_tokens));
  state_->e2e_latency[i]->Observe(end.e2e_seconds);
  // A reason that is not ours would be a new series: count it as an error.
  const auto* found =
      std::find(finish_reasons.begin(), finish_reasons.end() - 1, end.finished_reason);
  state_->request_success[i][static_cast<std::size_t>(found - finish_reasons.begin())]->Increment();
}

void metrics::observe_refused(lane service, std::string_view code) {
  const auto* found = std::find_if(error_codes.begin(), error_codes.end() - 1,
                                   [&](errc known) { return to_string(known) == code; });
  state_->requests_refused[to_index(service)][static_cast<std::size_t>(found - error_codes.begin())]
      ->Increment();
}

std::string metrics::exposition() const {
  return prometheus::TextSerializer().Serialize(state_->registry.Collect());
}

std::map<std::string, double> metrics::values() const {
  std::map<std::string, double> sums;
  for (const auto& family : state_->registry.Collect()) {
    if (family.type == prometheus::MetricType::Histogram) continue;
    double& sum = sums[family.name.substr(name_prefix.size())];
    for (const auto& metric : family.metric) {
      sum +=
          family.type == prometheus::MetricType::Gauge ? metric.gauge.value : metric.counter.value;
    }
  }
  return sums;
}

}  // namespace troupe
