// The server's metrics, kept by prometheus-cpp: vLLM's names with the prefix `troupe:`, the same
// labels and units, and a `lane` label where it means something. Thread-safe; recording is a few
// atomic operations.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/schedule/lane.hpp"
#include "runtime/schedule/scheduler_core.hpp"

namespace troupe {

class metrics {
 public:
  /// max_model_len bounds the buckets of the token histograms.
  explicit metrics(std::string_view model_name, std::uint32_t max_model_len = 131'072);
  ~metrics();

  /// Gauges and totals that the scheduler owns; called once a step.
  void set_counts(const scheduler_counts& counts);
  /// One executed step: tokens in it, its compute time, and the time from plan to plan that was not
  /// compute.
  void observe_step(std::uint32_t tokens, double compute_ms, double overhead_ms);
  /// How far off the scheduler's predictions of its steps are: a fraction, 0.1 for 10 %.
  void set_cost_model_error(double error);
  void observe_first_token(lane service, double seconds);
  void observe_inter_token(lane service, double seconds);
  void observe_queue_time(lane service, double seconds);
  void add_generation_tokens(lane service, std::uint64_t count);
  struct request_end {
    lane service = lane::realtime;
    std::string_view finished_reason;  ///< "stop", "length", "abort", "error"
    std::uint64_t prompt_tokens = 0, completion_tokens = 0;
    double e2e_seconds = 0.0;
  };
  void observe_request_end(const request_end& end);
  void observe_refused(lane service, std::string_view code);

  /// Prometheus text format, version 0.0.4 (GET /metrics).
  [[nodiscard]] std::string exposition() const;
  /// Gauges and counters by name without prefix, summed over labels (the wire's `stats`).
  [[nodiscard]] std::map<std::string, double> values() const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace troupe
