// Steps that are held to a duration: a scheduler whose long prompt is cut so that no step takes
// much longer than it may, be the prompt alone, beside a decode, or beside a VIP's.
#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include <catch2/catch.hpp>

#include "config/limits.hpp"
#include "runtime/schedule/scheduler_core.hpp"

namespace troupe {
namespace {

/// A machine on which the token at position p of a sequence costs 0.1 ms + p / 40,000 ms.
double cost_ms(const step_plan& plan) {
  double ms = 1.0;
  for (const step_slice& slice : plan.slices) {
    for (std::size_t i = 0; i < slice.tokens.size(); ++i)
      ms += 0.1 + static_cast<double>(slice.position_first + i) / 40'000.0;
  }
  return ms;
}

schedule_request request_of(std::uint64_t id, lane service, std::size_t prompt_tokens,
                            std::uint32_t output_tokens) {
  generation_params params;
  params.stopping.max_tokens = output_tokens;
  params.stopping.ignore_eos = true;
  schedule_request request;
  request.id = request_id{id};
  request.service = service;
  request.prompt = std::make_shared<const std::vector<token_id>>(prompt_tokens, token_id{7});
  request.params = std::make_shared<const generation_params>(params);
  return request;
}

step_result run(const step_plan& plan) {
  step_result result;
  result.id = plan.id;
  result.compute_ms = cost_ms(plan);
  for (const step_slice& slice : plan.slices) {
    auto& made = result.slices.emplace_back();
    if (slice.sample) made.sampled.push_back({token_id{1}, 0, 0, {}});
  }
  return result;
}

constexpr std::uint32_t ms_max = 100, vip_ms_max = 30;

/// Runs until the request with the long prompt is done; the durations of all steps.
std::vector<double> run_steps(std::optional<lane> beside) {
  scheduler_limits limits;
  limits.max_model_len = 8192;
  limits.block_count = 2048;
  limits.step_ms_max = ms_max;
  limits.vip_step_ms_max = vip_ms_max;
  scheduler_core core(limits);
  if (beside) core.enqueue(request_of(1, *beside, 10, 5000), {}).value();
  core.enqueue(request_of(2, lane::realtime, 8000, 4), {}).value();
  std::vector<double> durations;
  while (core.has(request_id{2})) {
    const auto planned = core.plan({});
    REQUIRE(!planned.plan.slices.empty());
    const step_result result = run(planned.plan);
    durations.push_back(result.compute_ms);
    core.complete(result, {});
  }
  CHECK(core.cost().error() < 0.05);
  return durations;
}

TEST_CASE("a long prompt does not stretch steps beyond what they may take", "[schedule]") {
  struct variant {
    std::optional<lane> beside;
    double ms_max;
  };
  for (const auto& [beside, longest_ms] :
       {variant{std::nullopt, double{ms_max} * limits::lone_prompt_steps},
        variant{lane::realtime, ms_max}, variant{lane::vip, vip_ms_max}}) {
    const auto durations = run_steps(beside);
    INFO("steps of at most " << longest_ms << " ms");
    CHECK(*std::ranges::max_element(durations) < 1.1 * longest_ms);
    // And they are filled: the prompt's 8,000 tokens cost 1,600 ms in all.
    CHECK(static_cast<double>(durations.size()) < 1.1 * 1'600.0 / longest_ms + 8);
  }
}

TEST_CASE("several prompts share what a step may take", "[schedule]") {
  scheduler_limits limits;
  limits.max_model_len = 8192;
  limits.block_count = 4096;
  limits.step_ms_max = ms_max;
  limits.vip_step_ms_max = vip_ms_max;
  scheduler_core core(limits);
  for (std::uint64_t id = 1; id <= 40; ++id)
    core.enqueue(request_of(id, lane::async, 60 + 20 * id, 30), {}).value();
  double longest_ms = 0.0;
  for (int step = 0; core.has_work(); ++step) {
    REQUIRE(step < 1'000);
    const auto planned = core.plan({});
    const step_result result = run(planned.plan);
    if (step != 0) longest_ms = std::max(longest_ms, result.compute_ms);
    core.complete(result, {});
    core.check_integrity();
  }
  CHECK(longest_ms < 1.15 * ms_max);
  CHECK(longest_ms > 0.8 * ms_max);
}

TEST_CASE("steps beside VIPs last as long as their promised mean allows", "[schedule]") {
  scheduler_limits limits;
  limits.max_model_len = 8192;
  limits.block_count = 4096;
  limits.step_ms_max = ms_max;
  limits.vip_step_ms_max = 25;
  limits.vip_token_ms = 40;
  scheduler_core core(limits);
  core.enqueue(request_of(1, lane::vip, 10, 200), {}).value();
  core.enqueue(request_of(2, lane::realtime, 8000, 4), {}).value();
  monotonic_time now{};
  const auto step = [&](int taken_ms) {
    const auto planned = core.plan(now);
    REQUIRE(planned.step_ms_max);
    now += std::chrono::milliseconds{taken_ms};
    core.complete(run(planned.plan), now);
    return *planned.step_ms_max;
  };
  CHECK(step(30) == Approx(34));  // nobody has a token yet: no gap is at stake
  CHECK(step(20) == Approx(25));  // the first gap
  CHECK(step(34) == Approx(34));  // 20 ms ahead, but 85 % at most
  CHECK(step(100) == Approx(34));
  // 3 gaps in 154 ms, 34 too many: of the fourth less than nothing is left.
  CHECK(step(10) == Approx(12.5));
  CHECK(step(10) == Approx(12.5 + 8.5));  // 4 ms behind
  core.enqueue(request_of(3, lane::vip, 10, 200), now).value();
  step(10);
  CHECK(step(10) == Approx(25));  // the new one has its first gap
}

}  // namespace
}  // namespace troupe
