// Draws against the moments that their distributions have, traces against hand-made files, and the
// hardware's roofline against sums by hand.
#include "runtime/simulate/workload.hpp"

#include <cmath>

#include <catch2/catch.hpp>

#include "runtime/simulate/figures.hpp"
#include "runtime/simulate/hardware.hpp"
#include "runtime/simulate/random_draws.hpp"
#include "runtime/simulate/simulation.hpp"

using namespace troupe;
using namespace troupe::simulate;

namespace {

struct moments {
  double mean = 0.0, variance = 0.0;
};

template <class Draw>
moments moments_of(Draw&& draw) {
  constexpr int count = 200'000;
  double sum = 0.0, squares = 0.0;
  for (int i = 0; i < count; ++i) {
    const double value = draw();
    sum += value;
    squares += value * value;
  }
  const double mean = sum / count;
  return {mean, squares / count - mean * mean};
}

}  // namespace

TEST_CASE("draws have their distributions' moments", "[simulate]") {
  random_draws random(9, draw_stream::prompts);
  const auto uniform = moments_of([&] { return random.uniform(); });
  CHECK(uniform.mean == Approx(0.5).epsilon(0.01));
  CHECK(uniform.variance == Approx(1.0 / 12.0).epsilon(0.02));
  const auto normal = moments_of([&] { return random.normal(); });
  CHECK(normal.mean == Approx(0.0).margin(0.01));
  CHECK(normal.variance == Approx(1.0).epsilon(0.02));
  const double shape = GENERATE(0.2, 1.0, 4.0);
  const auto gamma = moments_of([&] { return random.gamma(shape); });
  CHECK(gamma.mean == Approx(shape).epsilon(0.02));
  CHECK(gamma.variance == Approx(shape).epsilon(0.04));
  const auto first = [](draw_stream stream) { return random_draws(9, stream).uniform(); };
  CHECK(first(draw_stream::prompts) == first(draw_stream::prompts));
  CHECK(first(draw_stream::prompts) != first(draw_stream::outputs));
}

TEST_CASE("a workload has the lengths, lanes and rate that were asked for", "[simulate]") {
  workload_description load;
  load.request_count = 100'000;
  load.arrivals = {50.0, 0.5};
  load.prompt = {length_kind::lognormal, 300.0, 0.7, 1, 100'000};
  load.output = {length_kind::fixed, 12.0, 0.0, 1, 100};
  load.lane_share = {0.2, 0.5, 0.3};
  load.lane_allowed[to_index(lane::async)] = {100.0, 300.0};
  load.prefixes = {5, 0.4, 64};
  const auto requests = make_workload(load, {}, 3);
  double prompts = 0.0;
  std::size_t vip = 0, shared = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    prompts += requests[i].prompt_tokens;
    vip += requests[i].service == lane::vip;
    shared += requests[i].prefix != virtual_request::no_prefix;
    CHECK(requests[i].output_tokens == 12);
    if (i != 0) CHECK(requests[i].arrival >= requests[i - 1].arrival);
    if (requests[i].prefix_tokens != 0) CHECK(requests[i].prompt_tokens > 64);
  }
  CHECK(prompts / 100'000 == Approx(300.0).epsilon(0.02));
  CHECK(static_cast<double>(vip) == Approx(20'000).epsilon(0.03));
  CHECK(static_cast<double>(shared) == Approx(40'000).epsilon(0.03));
  CHECK(std::chrono::duration<double>(requests.back().arrival).count() == Approx(2000.0));
}

TEST_CASE("traces", "[simulate]") {
  const std::string header = "arrival_s,prompt_tokens,output_tokens,lane\n";
  const auto made = parse_trace(header + "0.5,100,20,vip\r\n1.25,7,1\n\n", "t.csv").value();
  REQUIRE(made.size() == 2);
  CHECK(made[0].arrival == std::chrono::milliseconds(500));
  CHECK(made[0].service == lane::vip);
  CHECK(made[1].prompt_tokens == 7);
  CHECK(made[1].service == lane::realtime);
  for (const auto& [text, wanted] : std::vector<std::pair<std::string, std::string>>{
           {"", "the first line"},
           {"a,b\n", "the first line"},
           {header, "no request"},
           {header + "x,1,1\n", "t.csv:2: arrival_s"},
           {header + "-1,1,1\n", "arrival_s"},
           {header + "1,0,1\n", "prompt_tokens"},
           {header + "1,1,99999999999\n", "output_tokens"},
           {header + "1,1\n", "output_tokens"},
           {header + "1,1,1,gold\n", "lane must be"},
           {header + "2,1,1\n1,1,1\n", "t.csv:3: arrivals must ascend"}}) {
    const auto outcome = parse_trace(text, "t.csv");
    REQUIRE(!outcome.has_value());
    CHECK(outcome.failure().message.find(wanted) != std::string::npos);
  }
}

TEST_CASE("requests of a trace have their lanes' deadlines", "[simulate]") {
  const std::string lines =
      "arrival_s,prompt_tokens,output_tokens,lane\n0,10,5,async\n0,10,5,vip\n";
  auto made = parse_trace(lines, "t.csv").value();
  std::array<allowed_time, lane_count> allowed{};
  allowed[to_index(lane::async)] = {100.0, 300.0};
  set_deadlines(made, allowed, 3);
  CHECK(made[0].allowed >= std::chrono::milliseconds(100));
  CHECK(made[0].allowed <= std::chrono::milliseconds(300));
  CHECK(made[1].allowed == monotonic_time{});
}

TEST_CASE("virtual time does not run over", "[simulate]") {
  const std::string way =
      "ways:\n  - name: a\n    hardware: {fitted: {step_ms: 1e6, row_ms: 1e6, prefill_pair_us: "
      "1e6},"
      " usd_per_hour: 1}\n    engine: {block_count: 70000, max_model_len: 1000000}\n";
  const auto message_of = [&](const std::string& load) {
    const auto what = parse_scenario(load + way, "s.yaml").value();
    return simulate::simulate(what, {}, [](const std::string&) {}).failure().message;
  };
  CHECK(message_of("requests: 10000\narrivals: {process: poisson, rate_per_s: 0.000001}\n") ==
        "10000 requests at 1e-06 a second arrive over 10000000000 s, of which 100000000 are "
        "simulated at most: raise arrivals.rate_per_s");
  CHECK(message_of("lengths: {prompt: {mean_tokens: 900000}}\n").find("more than 100000000 s") !=
        std::string::npos);
  CHECK(
      message_of("requests: 100000\nlengths: {prompt: {mean_tokens: 1}, output: {mean_tokens: 1}}\n"
                 "arrivals: {concurrency_max: 1, turnaround_ms: 86400000}\n")
          .find("more than 100000000 s") != std::string::npos);
}

TEST_CASE("the roofline is what sums by hand give", "[simulate]") {
  accelerator card = find_accelerator("h100_sxm5").value();
  card.compute_efficiency = card.memory_efficiency = 1.0;
  card.step_overhead_ms = card.sequence_overhead_us = 0.0;
  model_shape model{"m", 7e9, 32, 4096, 32, 8, 128, 32'000, number_format::bf16, 2.0};
  const auto cost = roofline(card, 1, model).value();
  step_shape decode;
  decode.add(1, 0, 1);
  // One decode reads all weights: 14 GB and the head's 0.26 GB at 3.35 TB/s.
  CHECK(cost.time(decode).total_ms == Approx((14.0 + 0.262) / 3.35).epsilon(0.001));
  step_shape prefill;
  prefill.add(4096, 0, 0);
  // A long prompt computes: 2 x 7e9 x 4096 operations and attention's 4 x 4096 x 32 a pair.
  const double operations = 2.0 * 7e9 * 4096 + 4.0 * 32 * 4096 * (4096.0 * 4097 / 2);
  CHECK(cost.time(prefill).total_ms == Approx(operations / 989.4e12 * 1e3).epsilon(0.001));
  CHECK(model.kv_bytes_per_token() == 131'072.0);
  // Two cards halve both and add what the links take.
  const auto two = roofline(card, 2, model).value();
  CHECK(two.time(decode).total_ms - two.time(decode).overhead_ms ==
        Approx(cost.time(decode).total_ms / 2));
  CHECK(two.time(decode).overhead_ms > 64 * 0.01);
}

TEST_CASE("speculation divides a round by its tokens", "[simulate]") {
  const speculation how{3, 0.5, 0.1};
  CHECK(how.tokens_per_round() == Approx(1.875));
  step_cost plain;
  plain.memory.step = 10.0;
  plain.compute.decode_sequence = 0.1;
  step_shape one;
  one.add(1, 0, 1);
  CHECK(with_speculation(plain, how).time(one).total_ms == Approx(13.0 / 1.875));
  CHECK(with_speculation(plain, {}).time(one).total_ms == 10.0);
}

TEST_CASE("quantiles are interpolated between neighbours", "[simulate]") {
  std::vector<double> values{4.0, 1.0, 3.0, 2.0};
  const auto made = describe(values);
  CHECK(made.mean == 2.5);
  CHECK(made.p50 == 2.5);
  CHECK(made.p99 == Approx(3.97));
  std::vector<double> none;
  CHECK(describe(none).p99 == 0.0);
}
