// Steps that are held to a duration: the budget by itself, and a scheduler whose long prompt is cut
// so that no step takes much longer than it may, with and without a VIP beside it.
#include "runtime/schedule/step_budget.hpp"

#include <algorithm>
#include <memory>
#include <vector>

#include <catch2/catch.hpp>

#include "runtime/schedule/scheduler_core.hpp"

namespace troupe {
namespace {

TEST_CASE("a step budget follows the measured cost of prompt tokens", "[schedule]") {
  step_budget budget;
  CHECK(budget.tokens(100.0, 0) == step_budget::prompt_tokens_first);
  CHECK(budget.tokens(100.0, 1000) == 1000 + step_budget::prompt_tokens_min);
  for (int i = 0; i < 20; ++i) budget.observe(256, 10, 266 * 0.25);
  CHECK(budget.tokens(100.0, 10) == 400);
  CHECK(budget.tokens(30.0, 10) == 120);
  CHECK(budget.tokens(0.001, 10) == 10 + step_budget::prompt_tokens_min);
  budget.observe(8, 0, 1e6);      // too few prompt tokens to say anything
  budget.observe(100, 200, 1e6);  // mostly decodes
  budget.observe(256, 10, 0.0);
  CHECK(budget.tokens(100.0, 10) == 400);
  for (int i = 0; i < 20; ++i) budget.observe(256, 0, 256 * 1.0);
  CHECK(budget.tokens(100.0, 0) == Approx(100).margin(1));
}

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

/// Runs until the request with the long prompt is done; the durations of all steps.
std::vector<double> run_steps(bool with_vip) {
  scheduler_limits limits;
  limits.max_model_len = 8192;
  limits.block_count = 2048;
  limits.step_ms_max = 100;
  limits.vip_step_ms_max = 30;
  scheduler_core core(limits);
  if (with_vip) core.enqueue(request_of(1, lane::vip, 10, 5000)).value();
  core.enqueue(request_of(2, lane::realtime, 8000, 4)).value();
  std::vector<double> durations;
  while (core.has(request_id{2})) {
    const auto planned = core.plan({});
    REQUIRE(!planned.plan.slices.empty());
    step_result result;
    result.id = planned.plan.id;
    result.compute_ms = cost_ms(planned.plan);
    for (const step_slice& slice : planned.plan.slices) {
      auto& made = result.slices.emplace_back();
      if (slice.sample) made.sampled.push_back({token_id{1}, 0, 0, {}});
    }
    durations.push_back(result.compute_ms);
    core.complete(result, {});
  }
  return durations;
}

TEST_CASE("a long prompt does not stretch steps beyond what they may take", "[schedule]") {
  for (const bool with_vip : {false, true}) {
    const double ms_max = with_vip ? 30.0 : 100.0;
    const auto durations = run_steps(with_vip);
    INFO("steps of at most " << ms_max << " ms");
    // A chunk is predicted by those before it, and this prompt's tokens cost three times as much at
    // its end.
    CHECK(*std::ranges::max_element(durations) < 1.35 * ms_max);
    // And they are filled: the prompt's 8,000 tokens cost 1,600 ms in all.
    CHECK(static_cast<double>(durations.size()) < 1.6 * 1'600.0 / ms_max + 8);
  }
}

}  // namespace
}  // namespace troupe
