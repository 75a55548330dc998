// Prints how long a plan takes with 256 running sequences and 10,000 queued requests; asserts only
// what does not depend on the machine's load: that the queue's length does not change what is
// planned.
#include <algorithm>
#include <chrono>

#include "tests/runtime/schedule/driven_scheduler.hpp"

using namespace troupe;
using namespace troupe::test;

namespace {

struct timing {
  double plan_us = 0, complete_us = 0;  ///< medians
  double started = 0;                   ///< mean
};

/// `output_tokens` decides how many requests end in a step, and so how many are admitted in one.
timing measure(std::uint32_t queued, std::uint32_t output_tokens, int steps) {
  scheduler_limits limits;
  limits.max_num_seqs = 256;
  limits.max_num_batched_tokens = 256 * 1024;
  limits.max_num_queued_reqs = 20'000;
  limits.block_count = 65'536;
  scheduler_core core(limits);
  generation_params params;
  params.stopping.max_tokens = output_tokens;
  params.stopping.ignore_eos = true;
  const auto shared = std::make_shared<const generation_params>(params);
  for (std::uint32_t id = 0; id < 256 + queued; ++id) {
    schedule_request request;
    request.id = static_cast<request_id>(id);
    request.service = all_lanes[id % 3];
    request.params = shared;
    request.prompt = std::make_shared<const std::vector<token_id>>(make_prompt(1000, id));
    core.enqueue(std::move(request), {}).value();
  }
  timing median;
  std::vector<double> plan_us, complete_us;
  for (int step = 0; step < steps; ++step) {
    const auto start = std::chrono::steady_clock::now();
    const auto planned = core.plan({});
    const auto sealed = std::chrono::steady_clock::now();
    step_result result;
    result.id = planned.plan.id;
    for (const auto& slice : planned.plan.slices) {
      auto& made = result.slices.emplace_back();
      if (slice.sample) made.sampled.push_back({token_id{1}, 0, 0, {}});
    }
    const auto before = std::chrono::steady_clock::now();
    const auto outcome = core.complete(result, {});
    const auto after = std::chrono::steady_clock::now();
    if (step < 10) continue;  // until all places are taken: 32 requests start in a step
    REQUIRE(planned.plan.slices.size() == 256);
    median.started += static_cast<double>(planned.started.size()) / (steps - 10);
    plan_us.push_back(std::chrono::duration<double, std::micro>(sealed - start).count());
    complete_us.push_back(std::chrono::duration<double, std::micro>(after - before).count());
  }
  const auto middle = [](std::vector<double>& values) {
    std::ranges::nth_element(values, values.begin() + std::ssize(values) / 2);
    return values[values.size() / 2];
  };
  median.plan_us = middle(plan_us);
  median.complete_us = middle(complete_us);
  return median;
}

}  // namespace

TEST_CASE("the time of a plan does not grow with the queue", "[schedule][time]") {
  struct variant {
    std::uint32_t queued, output_tokens;
    int steps;
  };
  for (const auto& [queued, output_tokens, steps] :
       {variant{0, 600, 400}, variant{10'000, 600, 400}, variant{10'000, 8, 200}}) {
    const timing measured = measure(queued, output_tokens, steps);
    WARN("256 running sequences of 1,000 tokens and more, "
         << queued << " requests queued, " << measured.started
         << " prompts of 1,000 started in a step: plan " << measured.plan_us << " us, complete "
         << measured.complete_us << " us (medians)");
  }
}
