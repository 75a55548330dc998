// The server's metrics, kept by prometheus-cpp: vLLM's names with the prefix `troupe:`, the same
// labels and units, and a `lane` label where it means something. Thread-safe; recording is a few
// atomic operations.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "config/config.hpp"
#include "runtime/observe/request_facts.hpp"
#include "runtime/schedule/lane.hpp"
#include "runtime/schedule/scheduler_core.hpp"

namespace troupe {

/// What the server promised and costs, as far as metrics report it.
struct service_terms {
  std::array<lane_config, lane_count> lanes = server_config{}.lanes;
  double price_per_hour = 0.0;  ///< dollars
  std::function<monotonic_time()> now = [] {
    return std::chrono::steady_clock::now().time_since_epoch();
  };
};

class metrics {
 public:
  /// max_model_len bounds the buckets of the token histograms.
  explicit metrics(std::string_view model_name, std::uint32_t max_model_len = 131'072,
                   service_terms terms = {});
  ~metrics();

  /// Gauges and totals that the scheduler owns; called once a step.
  void set_counts(const scheduler_counts& counts);
  /// One executed step: what was in it, the worker's time with moving blocks, and the time from
  /// plan to plan beside that.
  void observe_step(const step_shape& shape, double compute_ms, double overhead_ms);
  /// What the scheduler predicts steps with, and how far off its predictions are: a fraction, 0.1
  /// for 10 %.
  void set_cost_model(const cost_profile& profile, double error);
  /// How full the step was of what bounds it (sequences, tokens, predicted duration), while
  /// requests waited.
  void observe_fill(double ratio);
  /// How much better a composed order of the async lane is predicted to be than first come first
  /// served: a fraction.
  void observe_composition(double improvement_ratio);
  void observe_first_token(lane service, double seconds);
  void observe_inter_token(lane service, double seconds);
  void observe_queue_time(lane service, double seconds);
  /// From the port's reading of a request to the scheduler.
  void observe_intake(lane service, double seconds);
  void add_generation_tokens(lane service, std::uint64_t count);
  /// Once for each request that was not refused: its counts, and whether its lane's promise was
  /// kept.
  void observe_request_end(const request_facts& facts);
  void observe_refused(lane service, std::string_view code);
  /// A request of a tenant above its rate goes on in a lower lane.
  void observe_demoted(lane asked_for);

  /// Prometheus text format, version 0.0.4 (GET /metrics).
  [[nodiscard]] std::string exposition() const;
  /// Gauges and counters by name without prefix, summed over labels; what has no sum by lane, as
  /// "lane_sla_attainment.vip" (the wire's `stats`).
  [[nodiscard]] std::map<std::string, double> values() const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace troupe
