#include "runtime/simulate/simulation.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/schedule/configured_limits.hpp"
#include "runtime/simulate/static_batches.hpp"
#include "runtime/simulate/virtual_engine.hpp"

namespace troupe::simulate {
namespace {

/// Keeps an even sample of unknown length: every stride-th, the stride doubling when it is full.
class moment_sample {
 public:
  void add(const virtual_moment& moment) {
    if (seen_++ % stride_ != 0) return;
    kept_.push_back(moment);
    if (kept_.size() < kept_max) return;
    for (std::size_t i = 0; 2 * i < kept_.size(); ++i) kept_[i] = kept_[2 * i];
    kept_.resize((kept_.size() + 1) / 2);
    stride_ *= 2;
  }
  std::vector<virtual_moment> take() { return std::move(kept_); }

 private:
  static constexpr std::size_t kept_max = 600;
  std::vector<virtual_moment> kept_;
  std::uint64_t seen_ = 0, stride_ = 1;
};

/// A way's hardware in numbers.
struct machine {
  step_cost cost;
  std::uint64_t kv_positions = 0;  ///< 0: unknown, for a fitted cost
  double usd_per_hour = 0.0;
  std::optional<double> peak_tokens_per_s;
};

result<machine> machine_of(const scenario& what, const way& how) {
  machine made;
  if (how.fitted) {
    made.cost = *how.fitted;
  } else {
    TROUPE_TRY(accelerator card, find_accelerator(how.card));
    card.compute_efficiency = how.compute_efficiency.value_or(card.compute_efficiency);
    card.memory_efficiency = how.memory_efficiency.value_or(card.memory_efficiency);
    model_shape model = what.model;
    model.weights = how.weights.value_or(model.weights);
    model.kv_bytes = how.kv_bytes.value_or(model.kv_bytes);
    TROUPE_TRY(made.cost, roofline(card, how.cards, model));
    made.kv_positions =
        kv_positions(card, how.cards, model, how.engine.server.gpu_memory_utilization);
    made.usd_per_hour = card.usd_per_hour * how.cards;
    made.peak_tokens_per_s = peak_tokens_per_s(card, how.cards, model);
  }
  made.usd_per_hour = how.usd_per_hour.value_or(made.usd_per_hour);
  made.cost = with_speculation(made.cost, how.speculative);
  if (how.engine.block_count != 0)
    made.kv_positions = std::uint64_t{how.engine.block_count} * how.engine.server.block_size;
  if (made.kv_positions < how.engine.server.block_size)
    return error{errc::invalid_argument, "there is no room for a KV cache: set block_count"};
  return made;
}

scheduler_limits limits_of(const server_config& server, std::uint64_t positions) {
  scheduler_limits made = configured_limits(server);
  made.max_num_queued_reqs = server.max_num_queued_reqs;
  made.block_count = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(positions / server.block_size, limits::block_count_max));
  return made;
}

std::array<std::uint32_t, lane_count> queued_max_of(const server_config& server) {
  std::array<std::uint32_t, lane_count> made{};
  std::ranges::transform(server.lanes, made.begin(), &lane_config::max_queued);
  return made;
}

composer_settings composer_of(const engine_settings& engine) {
  const std::uint32_t time_ms = engine.server.lanes[async_lane].compose_ms_max;
  return {.replays_max = time_ms == 0 ? 0 : engine.compose_replays_max,
          .time = std::chrono::milliseconds{time_ms}};
}

result<virtual_result> serve(const scenario& what, const way& how, const machine& on,
                             std::span<const virtual_request> requests,
                             const moment_observer& observe) {
  if (how.policy == way_policy::static_batches) {
    return run_static_batches({.batch_size = how.batches.size,
                               .wait_max = from_ms(how.batches.wait_ms),
                               .reserved_tokens = how.batches.reserved_tokens,
                               .kv_positions = on.kv_positions,
                               .cold_start_ms = how.batches.cold_start_ms,
                               .cost = on.cost,
                               .clients = what.clients,
                               .observe = observe},
                              requests);
  }
  scheduler_limits limits = limits_of(how.engine.server, on.kv_positions);
  // What is fitted are this server's own steps, on a CPU.
  if (how.fitted) limits.first_part_tokens_min = troupe::limits::cpu_first_part_tokens_min;
  TROUPE_TRY_VOID(check_limits(limits));
  return virtual_engine({.limits = limits,
                         .cost = on.cost,
                         .clients = what.clients,
                         .path = how.path,
                         .composer = composer_of(how.engine),
                         .queued_max = queued_max_of(how.engine.server),
                         .one_lane = how.one_lane,
                         .asked_tokens = how.asked_tokens,
                         .seed = what.seed,
                         .observe = observe})
      .run(requests);
}

result<way_report> run_way(const scenario& what, const way& how,
                           std::span<const virtual_request> requests) {
  TROUPE_TRY(const machine on, machine_of(what, how));
  moment_sample sample;
  TROUPE_TRY(const auto made, serve(what, how, on, requests,
                                    [&](const virtual_moment& moment) { sample.add(moment); }));
  if (made.is_unfinished)
    return error{errc::invalid_argument,
                 fmt::format("serving takes more than {} s of virtual time: make steps and pauses "
                             "shorter, or requests fewer",
                             limits::simulated_seconds_max)};
  return way_report{.figures = summarize(requests, made, what.targets, on.usd_per_hour),
                    .moments = sample.take(),
                    .usd_per_hour = on.usd_per_hour,
                    .seats = made.counts.seats,
                    .kv_positions = on.kv_positions,
                    .peak_tokens_per_s = on.peak_tokens_per_s};
}

result<void> check_rate(const workload_description& load) {
  const double seconds = load.request_count / load.arrivals.rate_per_s;
  if (seconds <= limits::simulated_seconds_max) return {};
  return error{errc::invalid_argument,
               fmt::format("{} requests at {} a second arrive over {} s, of which {} are simulated "
                           "at most: raise arrivals.rate_per_s",
                           load.request_count, load.arrivals.rate_per_s, seconds,
                           limits::simulated_seconds_max)};
}

result<std::vector<virtual_request>> requests_of(const scenario& what, const scenario_data& data) {
  if (what.lengths == length_source::trace) {
    auto requests = data.trace;
    set_deadlines(requests, what.load.lane_allowed, what.seed);
    return requests;
  }
  TROUPE_TRY_VOID(check_rate(what.load));
  auto requests = make_workload(what.load, data.lengths, what.seed);
  TROUPE_CHECK(data.arrivals_s.empty() || data.arrivals_s.size() == requests.size());
  for (std::size_t i = 0; i < data.arrivals_s.size(); ++i)
    requests[i].arrival = monotonic_time(std::llround(data.arrivals_s[i] * 1e9));
  return requests;
}

}  // namespace

result<simulation_report> simulate(const scenario& what, const scenario_data& data,
                                   const std::function<void(const std::string&)>& on_way) {
  if (what.lengths == length_source::sharegpt && data.lengths.empty())
    return error{errc::invalid_argument, "the scenario takes its lengths from a ShareGPT file"};
  if (what.lengths == length_source::trace && data.trace.empty())
    return error{errc::invalid_argument, "the scenario takes its load from a trace file"};
  TROUPE_TRY(const std::vector<virtual_request> requests, requests_of(what, data));
  simulation_report report;
  report.request_count = requests.size();
  for (const virtual_request& each : requests) {
    report.prompt_tokens_mean += each.prompt_tokens / static_cast<double>(requests.size());
    report.output_tokens_mean += each.output_tokens / static_cast<double>(requests.size());
  }
  for (const way& how : what.ways) {
    on_way(how.name);
    auto made = run_way(what, how, requests);
    if (!made)
      return error{made.failure().code, fmt::format("{}: {}", how.name, made.failure().message)};
    report.ways.push_back(std::move(*made));
  }
  return report;
}

}  // namespace troupe::simulate
