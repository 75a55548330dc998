#include "runtime/observe/metrics.hpp"

#include <algorithm>
#include <mutex>
#include <vector>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "runtime/observe/sla_tracker.hpp"
#include "runtime/observe/token_cost.hpp"

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
// A VIP waits for a step of 30 ms at most; an intake takes a millisecond.
const boundaries lane_seconds{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,  0.2,
                              0.5,    1.0,   2.0,    5.0,   10.0, 30.0,  60.0, 300., 1800.};
const boundaries intake_seconds{0.0001, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.002, 0.003,
                                0.005,  0.0075, 0.01,   0.025,  0.05,    0.1,   0.25,  1.0};
const boundaries overhead_seconds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                  0.025,  0.05,    0.1,    0.25,  0.5,    1.0};

const boundaries fill_ratios{0.01, 0.02, 0.05, 0.1, 0.2,  0.3, 0.4, 0.5,
                             0.6,  0.7,  0.8,  0.9, 0.95, 1.0, 1.1};

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
constexpr std::array<std::string_view, 3> verdicts{"attained", "missed", "not_counted"};
// Ratios and prices, which have no sum over lanes.
constexpr std::array<std::string_view, 2> unsummed_by_lane{"lane_sla_attainment",
                                                           "dollars_per_1k_tokens"};

/// What each part of a step costs, and how much of it there was: neither has a sum over parts.
constexpr std::string_view cost_model_name = "cost_model_ms", step_work_name = "step_work_total";
struct cost_part {
  std::string_view name;
  double cost_profile::*cost;
  double ms;  ///< of the cost's unit
};
constexpr std::array<cost_part, 6> cost_parts{
    {{"step", &cost_profile::step_ms, 1.0},
     {"row_tile", &cost_profile::row_tile_ms, 1.0},
     {"row", &cost_profile::row_ms, 1.0},
     {"logit_row", &cost_profile::logit_row_ms, 1.0},
     {"decode_pair", &cost_profile::decode_pair_us, 1e-3},
     {"prefill_pair", &cost_profile::prefill_pair_us, 1e-3}}};

bool has_sum(std::string_view name) {
  return name != cost_model_name && name != step_work_name &&
         std::find(unsummed_by_lane.begin(), unsummed_by_lane.end(), name) ==
             unsummed_by_lane.end();
}

std::string_view reason_of(const request_facts& facts) {
  if (!facts.failure) return facts.finish_reason;
  return *facts.failure == errc::aborted ? "abort" : "error";
}

constexpr std::array<errc, 16> error_codes{
    errc::invalid_argument,  errc::not_found,           errc::already_exists,
    errc::unauthorized,      errc::permission_denied,   errc::out_of_memory,
    errc::overloaded,        errc::rate_limited,        errc::slow_client,
    errc::corrupt,           errc::unsupported,         errc::unavailable,
    errc::deadline_exceeded, errc::deadline_unmeetable, errc::aborted,
    errc::internal};

template <class Metric>
using by_lane = std::array<Metric*, lane_count>;

/// The totals of the scheduler that were already added to the counters.
struct seen_totals {
  std::array<std::uint64_t, preemption_kind_count> preemptions_by_kind{};
  std::uint64_t recomputed = 0;
  std::uint64_t preemptions = 0, prefix_queries = 0, prefix_hits = 0;
  std::uint64_t offloaded = 0, uploaded = 0, dropped = 0;
};

/// A total that went down belongs to a restarted scheduler, which counts from zero.
double take_increase(std::uint64_t& seen, std::uint64_t total) {
  const std::uint64_t increase = total >= seen ? total - seen : total;
  seen = total;
  return static_cast<double>(increase);
}

}  // namespace

struct metrics::state {
  state(std::string_view model_name, std::uint32_t max_model_len, service_terms given)
      : constant_labels{{"model_name", std::string(model_name)}},
        terms(std::move(given)),
        start(terms.now()) {
    num_requests_running = gauges("num_requests_running", "Requests that hold blocks.");
    num_requests_waiting = gauges("num_requests_waiting", "Requests that wait in a lane queue.");
    kv_cache_usage = gauge("kv_cache_usage_perc",
                           "Blocks that sequences refer to, as a fraction of all (1 = full).");
    cost_model_error = gauge("cost_model_error",
                             "Median relative error of the predicted compute time of recent steps "
                             "(0.1 = 10 %).");
    prefix_queries =
        counter("prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.");
    prefix_hits = counter("prefix_cache_hits_total", "Prompt tokens found in the prefix cache.");
    preemptions = counter("num_preemptions_total", "Sequences that gave their blocks to others.");
    auto& kinds = counter_family("preemptions_total",
                                 "Preempted sequences that came back, by how: their blocks were "
                                 "kept, came from the lower tier, or were recomputed.");
    for (std::size_t i = 0; i < preemption_kind_count; ++i)
      preemptions_by_kind[i] =
          &kinds.Add({{"kind", std::string(to_string(static_cast<preemption_kind>(i)))}});
    recomputed = counter("recomputed_tokens_total", "Positions computed again after preemptions.");
    held_sequences = gauge("num_sequences_held",
                           "Running sequences that the last step left out for other lanes.");
    batch_fill = histogram("batch_fill_ratio",
                           "Share of a step's sequences, tokens or predicted duration, whichever "
                           "bound it, that was used while requests waited.",
                           fill_ratios);
    ga_improvement = histogram("ga_improvement_ratio",
                               "Predicted gain of composed async orders over first come first "
                               "served.",
                               fill_ratios);
    offload_stored = counter("kv_offload_stored_blocks_total",
                             "Evicted blocks copied to the tier below the device.");
    offload_hits = counter("kv_offload_hit_blocks_total",
                           "Blocks taken back from that tier instead of being computed.");
    offload_dropped = counter("kv_offload_dropped_blocks_total",
                              "Evicted blocks that were cheaper to compute again than to move.");
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
    lane_queue_time =
        histograms("lane_queue_time_seconds", "Arrival to first step, finer.", lane_seconds);
    lane_intake =
        histograms("lane_intake_seconds", "From the port's reading of a request to the scheduler.",
                   intake_seconds);
    build_sla_attainment();
    dollars_per_1k =
        gauges("dollars_per_1k_tokens",
               "Price of 1,000 generated tokens by price_per_hour, since the start. "
               "Idle time is paid for too, by the lanes in proportion to their tokens: "
               "the price of an idle server is high.");
    demoted = counters("requests_demoted_total",
                       "Requests above their tenant's rate that went on in a lower lane, by the "
                       "lane they asked for.");
    const boundaries token_counts = one_two_five(static_cast<double>(max_model_len));
    request_prompt_tokens =
        histograms("request_prompt_tokens", "Prompt tokens of a request.", token_counts);
    request_generation_tokens =
        histograms("request_generation_tokens", "Generated tokens of a request.", token_counts);
    iteration_tokens = histogram("iteration_tokens_total", "Tokens in a step.", step_tokens);
    step_compute = histogram("step_compute_seconds", "Compute time of a step.", compute_seconds);
    step_overhead = histogram("step_overhead_seconds", "Time between steps that was not compute.",
                              overhead_seconds);
    auto& costs =
        gauge_family(cost_model_name,
                     "Fitted cost of each part of a step, in milliseconds: of a step, of "
                     "16 rows begun, of a row, of a row of logits, of a (row, key) pair.");
    auto& work =
        counter_family(step_work_name,
                       "Steps, 16 rows begun, rows, rows of logits, and (row, key) pairs of "
                       "decodes and prefills: what cost_model_ms is the cost of.");
    for (std::size_t i = 0; i < cost_parts.size(); ++i) {
      cost_model[i] = &costs.Add({{"part", std::string(cost_parts[i].name)}});
      step_work[i] = &work.Add({{"part", std::string(cost_parts[i].name)}});
    }
    build_request_success();
    build_requests_refused();
    build_sla_requests();
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
  prometheus::Family<Gauge>& gauge_family(std::string_view name, const char* help) {
    return prometheus::BuildGauge()
        .Name(named(name))
        .Help(help)
        .Labels(constant_labels)
        .Register(registry);
  }
  Gauge* gauge(std::string_view name, const char* help) {
    return &gauge_family(name, help).Add({});
  }
  by_lane<Gauge> gauges(std::string_view name, const char* help) {
    auto& family = gauge_family(name, help);
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
    auto& family = counter_family("requests_refused_total",
                                  "Requests that were never admitted, and (slow_client) HTTP "
                                  "streams that were cut for slow reading.");
    for (const lane service : all_lanes) {
      for (std::size_t i = 0; i < error_codes.size(); ++i) {
        auto labels = lane_label(service);
        labels["code"] = std::string(to_string(error_codes[i]));
        requests_refused[to_index(service)][i] = &family.Add(labels);
      }
    }
  }

  /// Of lanes that promise something; elsewhere it stays null.
  void build_sla_attainment() {
    auto& family = gauge_family("lane_sla_attainment",
                                "Requests that got what their lane promises, as a fraction of "
                                "those that count, since the start; of lanes with a target.");
    for (const lane service : all_lanes) {
      if (promises_something(terms.lanes[to_index(service)]))
        sla_attainment[to_index(service)] = &family.Add(lane_label(service));
    }
  }

  void build_sla_requests() {
    auto& family = counter_family("lane_sla_requests_total",
                                  "Requests by whether their lane's promise was kept; of lanes "
                                  "with a target.");
    for (const lane service : all_lanes) {
      if (!promises_something(terms.lanes[to_index(service)])) continue;
      for (std::size_t i = 0; i < verdicts.size(); ++i) {
        auto labels = lane_label(service);
        labels["verdict"] = std::string(verdicts[i]);
        sla_requests[to_index(service)][i] = &family.Add(labels);
      }
    }
  }

  void add_verdict(lane service, sla_verdict verdict) {
    if (!promises_something(terms.lanes[to_index(service)])) return;
    sla_requests[to_index(service)][static_cast<std::size_t>(verdict)]->Increment();
    const std::lock_guard lock(sla_mutex);
    sla.add(service, verdict);
  }

  /// Gauges that follow from others.
  void derive() {
    std::array<lane_tokens, lane_count> used;
    for (const lane service : all_lanes) {
      const std::size_t i = to_index(service);
      used[i] = {prompt_tokens[i]->Value(), generation_tokens[i]->Value()};
    }
    const double elapsed_s = std::chrono::duration<double>(terms.now() - start).count();
    const std::lock_guard lock(sla_mutex);
    for (const lane service : all_lanes) {
      const std::size_t i = to_index(service);
      if (sla_attainment[i] != nullptr) sla_attainment[i]->Set(sla.attainment(service));
      dollars_per_1k[i]->Set(dollars_per_1k_tokens(terms.price_per_hour, elapsed_s, used, service));
    }
  }

  prometheus::Registry registry;
  prometheus::Labels constant_labels;
  service_terms terms;
  monotonic_time start;
  by_lane<Gauge> num_requests_running{}, num_requests_waiting{};
  Gauge *kv_cache_usage = nullptr, *cost_model_error = nullptr;
  std::array<Gauge*, cost_parts.size()> cost_model{};
  std::array<Counter*, cost_parts.size()> step_work{};
  Counter *prefix_queries = nullptr, *prefix_hits = nullptr, *preemptions = nullptr;
  std::array<Counter*, preemption_kind_count> preemptions_by_kind{};
  Counter* recomputed = nullptr;
  Gauge* held_sequences = nullptr;
  Histogram *batch_fill = nullptr, *ga_improvement = nullptr;
  Counter *offload_stored = nullptr, *offload_hits = nullptr, *offload_dropped = nullptr;
  by_lane<Counter> prompt_tokens{}, generation_tokens{};
  by_lane<Histogram> time_to_first_token{}, inter_token_latency{}, e2e_latency{}, queue_time{};
  by_lane<Histogram> lane_queue_time{}, lane_intake{};
  by_lane<Gauge> sla_attainment{}, dollars_per_1k{};
  by_lane<Counter> demoted{};
  std::array<std::array<Counter*, verdicts.size()>, lane_count> sla_requests{};
  by_lane<Histogram> request_prompt_tokens{}, request_generation_tokens{};
  Histogram *iteration_tokens = nullptr, *step_compute = nullptr, *step_overhead = nullptr;
  std::array<std::array<Counter*, finish_reasons.size()>, lane_count> request_success{};
  std::array<std::array<Counter*, error_codes.size()>, lane_count> requests_refused{};

  std::mutex totals_mutex;
  seen_totals totals;
  std::mutex sla_mutex;
  sla_tracker sla;
};

metrics::metrics(std::string_view model_name, std::uint32_t max_model_len, service_terms terms)
    : state_(std::make_unique<state>(model_name, max_model_len, std::move(terms))) {}
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
  for (std::size_t i = 0; i < preemption_kind_count; ++i) {
    state_->preemptions_by_kind[i]->Increment(
        take_increase(seen.preemptions_by_kind[i], counts.preemptions_by_kind[i]));
  }
  state_->recomputed->Increment(take_increase(seen.recomputed, counts.recomputed_tokens));
  state_->held_sequences->Set(counts.held_sequences);
  state_->prefix_queries->Increment(take_increase(seen.prefix_queries, counts.prefix_query_tokens));
  state_->prefix_hits->Increment(take_increase(seen.prefix_hits, counts.prefix_hit_tokens));
  state_->offload_stored->Increment(take_increase(seen.offloaded, counts.offloaded_blocks));
  state_->offload_hits->Increment(take_increase(seen.uploaded, counts.uploaded_blocks));
  state_->offload_dropped->Increment(take_increase(seen.dropped, counts.dropped_blocks));
}

void metrics::observe_step(const step_shape& shape, double compute_ms, double overhead_ms) {
  state_->iteration_tokens->Observe(shape.tokens());
  const cost_features work = features_of(shape);
  for (std::size_t i = 0; i < work.size(); ++i) state_->step_work[i]->Increment(work[i]);
  state_->step_compute->Observe(compute_ms / 1000.0);
  state_->step_overhead->Observe(overhead_ms / 1000.0);
}

void metrics::set_cost_model(const cost_profile& profile, double error) {
  for (std::size_t i = 0; i < cost_parts.size(); ++i)
    state_->cost_model[i]->Set(profile.*cost_parts[i].cost * cost_parts[i].ms);
  state_->cost_model_error->Set(error);
}

void metrics::observe_fill(double ratio) {
  state_->batch_fill->Observe(ratio);
}

void metrics::observe_composition(double improvement_ratio) {
  state_->ga_improvement->Observe(improvement_ratio);
}

void metrics::observe_first_token(lane service, double seconds) {
  state_->time_to_first_token[to_index(service)]->Observe(seconds);
}

void metrics::observe_inter_token(lane service, double seconds) {
  state_->inter_token_latency[to_index(service)]->Observe(seconds);
}

void metrics::observe_queue_time(lane service, double seconds) {
  state_->queue_time[to_index(service)]->Observe(seconds);
  state_->lane_queue_time[to_index(service)]->Observe(seconds);
}

void metrics::observe_intake(lane service, double seconds) {
  state_->lane_intake[to_index(service)]->Observe(seconds);
}

void metrics::add_generation_tokens(lane service, std::uint64_t count) {
  state_->generation_tokens[to_index(service)]->Increment(static_cast<double>(count));
}

void metrics::observe_request_end(const request_facts& facts) {
  const std::size_t i = to_index(facts.service);
  const auto prompt_tokens = static_cast<double>(facts.prompt_tokens);
  state_->prompt_tokens[i]->Increment(prompt_tokens);
  state_->request_prompt_tokens[i]->Observe(prompt_tokens);
  state_->request_generation_tokens[i]->Observe(static_cast<double>(facts.output_tokens));
  state_->e2e_latency[i]->Observe(std::chrono::duration<double>(facts.end - facts.arrival).count());
  // A reason that is not ours would be a new series: count it as an error.
  const auto* found = std::find(finish_reasons.begin(), finish_reasons.end() - 1, reason_of(facts));
  state_->request_success[i][static_cast<std::size_t>(found - finish_reasons.begin())]->Increment();
  state_->add_verdict(facts.service, judge(state_->terms.lanes[i], facts));
}

void metrics::observe_demoted(lane asked_for) {
  state_->demoted[to_index(asked_for)]->Increment();
}

void metrics::observe_refused(lane service, std::string_view code) {
  const auto* found = std::find_if(error_codes.begin(), error_codes.end() - 1,
                                   [&](errc known) { return to_string(known) == code; });
  state_->requests_refused[to_index(service)][static_cast<std::size_t>(found - error_codes.begin())]
      ->Increment();
  state_->add_verdict(service, judge_failure(*found));
}

std::string metrics::exposition() const {
  state_->derive();
  return prometheus::TextSerializer().Serialize(state_->registry.Collect());
}

std::map<std::string, double> metrics::values() const {
  state_->derive();
  std::map<std::string, double> sums;
  for (const auto& family : state_->registry.Collect()) {
    if (family.type == prometheus::MetricType::Histogram) continue;
    const std::string name = family.name.substr(name_prefix.size());
    if (!has_sum(name)) continue;
    double& sum = sums[name];
    for (const auto& metric : family.metric) {
      sum +=
          family.type == prometheus::MetricType::Gauge ? metric.gauge.value : metric.counter.value;
    }
  }
  for (const lane service : all_lanes) {
    const std::string of_lane = "." + std::string(to_string(service));
    if (const Gauge* kept = state_->sla_attainment[to_index(service)])
      sums[std::string(unsummed_by_lane[0]) + of_lane] = kept->Value();
    sums[std::string(unsummed_by_lane[1]) + of_lane] =
        state_->dollars_per_1k[to_index(service)]->Value();
  }
  return sums;
}

}  // namespace troupe
