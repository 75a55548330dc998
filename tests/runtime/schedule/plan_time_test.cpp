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
  double plan_us = 0, complete_us = 0;  // medians
};

timing measure(std::uint32_t queued) {
  scheduler_limits limits;
  limits.max_num_seqs = 256;
  limits.max_batch_size = 256;
  limits.max_num_batched_tokens = 256 * 1024;
  limits.max_num_queued_reqs = 20'000;
  limits.block_count = 65'536;
  scheduler_core core(limits);
  generation_params params;
  params.stopping.max_tokens = 600;
  params.stopping.ignore_eos = true;
  const auto shared = std::make_shared<const generation_params>(params);
  for (std::uint32_t id = 0; id < 256 + queued; ++id) {
    schedule_request request;
    request.id = static_cast<request_id>(id);
    request.service = all_lanes[id % 3];
    request.params = shared;
    request.prompt = std::make_shared<const std::vector<token_id>>(make_prompt(1000, id));
    core.enqueue(std::move(request)).value();
  }
  std::vector<double> plan_us, complete_us;
  for (int step = 0; step < 400; ++step) {
    const auto start = std::chrono::steady_clock::now();
    const auto planned = core.plan({});
    const auto sealed = std::chrono::steady_clock::now();
    REQUIRE(planned.plan.slices.size() == 256);
    step_result result;
    result.id = planned.plan.id;
    for (std::size_t i = 0; i < planned.plan.slices.size(); ++i) {
      result.slices.push_back({{{token_id{static_cast<int>(i)}, 0, 0, {}}}, {}});
    }
    const auto before = std::chrono::steady_clock::now();
    const auto outcome = core.complete(result, {});
    const auto after = std::chrono::steady_clock::now();
    REQUIRE(outcome.updates.size() == 256);
    if (step == 0) continue;  // the step that computes all prompts
    plan_us.push_back(std::chrono::duration<double, std::micro>(sealed - start).count());
    complete_us.push_back(std::chrono::duration<double, std::micro>(after - before).count());
  }
  const auto median = [](std::vector<double>& values) {
    std::ranges::nth_element(values, values.begin() + std::ssize(values) / 2);
    return values[values.size() / 2];
  };
  return {median(plan_us), median(complete_us)};
}

}  // namespace

TEST_CASE("the time of a plan does not grow with the queue", "[schedule][time]") {
  for (const std::uint32_t queued : {0u, 10'000u}) {
    const timing measured = measure(queued);
    WARN("256 decoding sequences of 1,000 to 1,400 tokens, "
         << queued << " requests queued: plan " << measured.plan_us << " us, complete "
         << measured.complete_us << " us (medians of 399)");
  }
}
