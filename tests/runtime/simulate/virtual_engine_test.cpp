// The event loop against closed forms (a server of fixed service time, a fixed batch), against
// itself (the same seed, the same bits), and that every request ends exactly once.
#include "runtime/simulate/virtual_engine.hpp"

#include <chrono>
#include <cmath>
#include <cstdlib>

#include <catch2/catch.hpp>

#include "runtime/simulate/workload.hpp"

using namespace troupe;
using namespace troupe::simulate;

namespace {

double ms_of(monotonic_time time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

virtual_engine_options options_of(std::uint32_t seqs, std::uint32_t block_count) {
  virtual_engine_options options;
  options.limits.max_num_seqs = seqs;
  options.limits.max_num_batched_tokens = std::max(seqs, 2048u);
  options.limits.block_count = block_count;
  options.limits.max_num_queued_reqs = 1u << 20;
  options.limits.enable_prefix_caching = false;
  options.cost.compute = {
      .step = 1.0, .prefill_token = 0.01, .decode_sequence = 0.02, .decode_pair = 1e-5};
  return options;
}

workload_description mixed(std::uint32_t count, double rate_per_s) {
  workload_description load;
  load.request_count = count;
  load.arrivals.rate_per_s = rate_per_s;
  load.prompt = {length_kind::lognormal, 200.0, 0.8, 1, 1000};
  load.output = {length_kind::lognormal, 60.0, 0.8, 1, 500};
  load.lane_share = {0.1, 0.6, 0.3};
  return load;
}

}  // namespace

TEST_CASE("one server of fixed service time waits as Pollaczek and Khinchine say", "[simulate]") {
  auto options = options_of(1, 64);
  options.cost.compute = {.step = 10.0};  // one prompt, one token: one step of 10 ms
  const double load = GENERATE(0.3, 0.6, 0.8);
  workload_description description;
  description.request_count = 200'000;
  description.arrivals.rate_per_s = load * 100.0;
  description.prompt.mean_tokens = 8;
  description.output.mean_tokens = 1;
  const auto requests = make_workload(description, {}, 5);
  const auto made = virtual_engine(options).run(requests);
  double waited_ms = 0.0;
  for (const auto& each : made.outcomes) {
    REQUIRE(each.end == virtual_end::completed);
    waited_ms += ms_of(each.finished - each.submitted) - 10.0;
  }
  // M/D/1: rho * service / (2 (1 - rho)).
  const double expected_ms = load * 10.0 / (2.0 * (1.0 - load));
  CHECK(waited_ms / 200'000.0 == Approx(expected_ms).epsilon(0.03));
  CHECK(made.counts.busy_ms == Approx(2e6));
}

TEST_CASE("a batch of equal requests takes the sum of its steps", "[simulate]") {
  auto options = options_of(8, 1024);
  workload_description description;
  description.request_count = 8;
  description.prompt.mean_tokens = 100;
  description.output.mean_tokens = 50;
  const auto requests = make_workload(description, {}, 1);
  const auto made = virtual_engine(options).run(requests);
  double expected_ms = 1.0 + 0.01 * 800;
  for (int i = 1; i < 50; ++i) expected_ms += 1.0 + 8 * (0.02 + 1e-5 * (100 + i));
  for (const auto& each : made.outcomes) {
    CHECK(ms_of(each.finished) == Approx(expected_ms).epsilon(1e-6));
    CHECK(ms_of(each.first_token) == Approx(9.0));
  }
  CHECK(made.counts.steps == 50);
  CHECK(made.counts.rows == 8 * 149);
  CHECK(made.counts.recomputed_rows == 0);
}

TEST_CASE("every request ends exactly once, under preemption and refusal too", "[simulate]") {
  auto options = options_of(32, 150);
  options.limits.max_num_queued_reqs = 60;
  options.limits.enable_prefix_caching = GENERATE(false, true);
  const double rate_per_s = GENERATE(80.0, 800.0);
  const auto requests = make_workload(mixed(3000, rate_per_s), {}, 11);
  const auto made = virtual_engine(options).run(requests);
  std::size_t completed = 0, refused = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto& each = made.outcomes[i];
    completed += each.end == virtual_end::completed;
    refused += each.end == virtual_end::refused;
    CHECK(each.submitted == requests[i].arrival);
    CHECK(each.finished >= each.submitted);
    if (each.end == virtual_end::completed) CHECK(each.finished >= each.first_token);
  }
  CHECK(completed + refused == requests.size());
  CHECK(made.counts.preemptions > 0);
  CHECK((refused > 0) == (rate_per_s > 500.0));
  CHECK(made.counts.recomputed_rows > 0);
}

TEST_CASE("the same seed gives the same bits, another one others", "[simulate]") {
  const auto options = options_of(32, 500);
  virtual_engine engine(options);
  const auto requests = make_workload(mixed(2000, 100.0), {}, 3);
  const auto once = engine.run(requests), again = engine.run(requests);
  const auto other = engine.run(make_workload(mixed(2000, 100.0), {}, 4));
  for (std::size_t i = 0; i < requests.size(); ++i) {
    CHECK(once.outcomes[i].finished == again.outcomes[i].finished);
    CHECK(once.outcomes[i].first_token == again.outcomes[i].first_token);
  }
  CHECK(once.counts.busy_ms == again.counts.busy_ms);
  CHECK(once.end != other.end);
}

TEST_CASE("a closed loop keeps as many in flight as it has clients", "[simulate]") {
  auto options = options_of(64, 2000);
  options.clients = {10, std::chrono::milliseconds(2)};
  std::uint32_t most = 0;
  options.observe = [&](const virtual_moment& moment) {
    most = std::max(most, moment.waiting + moment.running);
  };
  auto load = mixed(500, 1.0);
  load.arrivals.rate_per_s = std::numeric_limits<double>::infinity();
  const auto made = virtual_engine(options).run(make_workload(load, {}, 2));
  CHECK(most <= 10);
  // Little's law: latency and turnaround of ten clients fill the time.
  double in_system_ms = 0.0;
  for (const auto& each : made.outcomes) in_system_ms += ms_of(each.finished - each.submitted) + 2;
  CHECK(in_system_ms / ms_of(made.end) == Approx(10.0).epsilon(0.03));
}

TEST_CASE("shared prefixes are found in the cache", "[simulate]") {
  auto options = options_of(32, 4000);
  options.limits.enable_prefix_caching = true;
  auto load = mixed(1000, 50.0);
  load.prefixes = {4, 1.0, 160};
  const auto made = virtual_engine(options).run(make_workload(load, {}, 2));
  // All but the first of each group find its 160 tokens; those that start together compute them.
  CHECK(made.counts.prefix_hit_tokens >= 160 * 960);
  CHECK(made.counts.prefix_hit_tokens <= 160 * 996);
}

TEST_CASE("a deadline is met, refused at once, or ends its request", "[simulate]") {
  auto options = options_of(1, 64);
  options.cost.compute = {.step = 10.0};  // a token of anybody takes 10 ms
  const auto request = [](int arrival_ms, std::uint32_t output_tokens, int allowed_ms) {
    return virtual_request{.arrival = std::chrono::milliseconds(arrival_ms),
                           .prompt_tokens = 8,
                           .output_tokens = output_tokens,
                           .allowed = std::chrono::milliseconds(allowed_ms)};
  };
  // The soonest deadline goes first. Nothing was measured when the first three come, so that nobody
  // is refused by a guess; later one is that would take 70 ms.
  const auto made = virtual_engine(options).run(
      std::vector<virtual_request>{request(0, 5, 0), request(0, 5, 500), request(0, 5, 45),
                                   request(100, 5, 45), request(100, 5, 90)});
  const auto& outcomes = made.outcomes;
  CHECK(outcomes[0].end == virtual_end::completed);
  CHECK(outcomes[1].end == virtual_end::completed);
  CHECK(outcomes[1].finished == std::chrono::milliseconds(100));
  CHECK(outcomes[2].end == virtual_end::missed);
  CHECK(outcomes[2].finished == std::chrono::milliseconds(45));
  CHECK(outcomes[2].started == std::chrono::milliseconds(0));
  CHECK(outcomes[3].end == virtual_end::unmeetable);
  CHECK(outcomes[3].finished == std::chrono::milliseconds(100));
  CHECK(outcomes[4].end == virtual_end::completed);
}

TEST_CASE("an answer of unknown length ends where it would have ended", "[simulate]") {
  auto options = options_of(16, 600);
  const auto requests = make_workload(mixed(500, 50.0), {}, 6);
  options.asked_tokens = GENERATE(0u, 700u);
  const auto made = virtual_engine(options).run(requests);
  std::uint64_t rows = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    REQUIRE(made.outcomes[i].end == virtual_end::completed);
    rows += requests[i].prompt_tokens + requests[i].output_tokens - 1u;
  }
  CHECK(made.counts.rows == rows + made.counts.recomputed_rows);
}

TEST_CASE("the noise of steps changes their spread and not their mean", "[simulate]") {
  auto options = options_of(8, 1024);
  options.cost.compute = {.step = 10.0};
  options.cost.noise = 0.3;
  workload_description description;
  description.request_count = 20'000;
  description.prompt.mean_tokens = 8;
  description.output.mean_tokens = 1;
  description.arrivals.rate_per_s = 10.0;
  const auto requests = make_workload(description, {}, 1);
  const auto once = virtual_engine(options).run(requests),
             again = virtual_engine(options).run(requests);
  const auto steps = static_cast<double>(once.counts.steps);
  CHECK(once.counts.busy_ms / steps == Approx(10.0).epsilon(0.01));
  CHECK(once.counts.busy_ms == again.counts.busy_ms);
  options.seed = 2;
  CHECK(virtual_engine(options).run(requests).counts.busy_ms != once.counts.busy_ms);
}

TEST_CASE("one lane is first come first served whatever was asked for", "[simulate]") {
  auto options = options_of(4, 2000);
  options.one_lane = lane::realtime;
  auto load = mixed(400, 60.0);
  const auto requests = make_workload(load, {}, 3);
  const auto made = virtual_engine(options).run(requests);
  for (std::size_t i = 1; i < requests.size(); ++i)
    CHECK(made.outcomes[i - 1].started.value() <= made.outcomes[i].started.value());
  options.one_lane.reset();
  const auto lanes = virtual_engine(options).run(requests);
  CHECK(lanes.outcomes.back().started != made.outcomes.back().started);
}

TEST_CASE("speed of the loop", "[simulate][time]") {
  // TROUPE_SIMULATE_REQUESTS=1000000 for the whole million.
  const char* const asked = std::getenv("TROUPE_SIMULATE_REQUESTS");
  const auto count = static_cast<std::uint32_t>(asked ? std::atoi(asked) : 20'000);
  auto options = options_of(256, 20'000);
  options.clients = {100, std::chrono::milliseconds(1)};
  workload_description load;
  load.request_count = count;
  load.prompt = {length_kind::lognormal, 384.0, 0.6, 8, 2000};
  load.output = {length_kind::lognormal, 128.0, 0.7, 1, 1000};
  const auto requests = make_workload(load, {}, 1);
  const auto start = std::chrono::steady_clock::now();
  const auto made = virtual_engine(options).run(requests);
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  WARN(count << " requests, " << made.counts.steps << " steps of "
             << made.counts.seat_ms / made.counts.busy_ms << " sequences in " << wall.count()
             << " s: " << wall.count() * 1e6 / count << " s for a million");
  CHECK(made.counts.rows > count);
}
