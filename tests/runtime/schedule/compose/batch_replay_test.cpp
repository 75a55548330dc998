// The decoder against the policy itself: the same requests under the same plans through
// scheduler_core on virtual time, from the beginning (virtual_engine) and from the middle of a run.
// Makespan, recomputed rows, preemptions and the ranking of orders agree; and it ends for views at
// their limits.
#include "runtime/schedule/compose/batch_replay.hpp"

#include <chrono>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include <catch2/catch.hpp>

#include "bench/compose/batch_cases.hpp"
#include "runtime/schedule/compose/search_random.hpp"
#include "runtime/schedule/scheduler_core.hpp"
#include "runtime/schedule/step_shape.hpp"

using namespace troupe;
using namespace troupe::bench;

namespace {

/// Every sample has the lengths that the requests will have.
batch_problem problem_of(const batch_case& of) {
  batch_problem problem(of.view, {}, 1);
  for (std::size_t i = 0; i < problem.lengths.size(); ++i)
    problem.lengths[i] = of.requests[i % of.requests.size()].output_tokens;
  return problem;
}

std::vector<std::uint32_t> shuffled(std::uint32_t count, search_random& random) {
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0u);
  for (std::uint32_t i = 0; i < count; ++i) std::swap(order[i], order[i + random.below(count - i)]);
  return order;
}

std::vector<request_id> ids_of(const std::vector<std::uint32_t>& order) {
  std::vector<request_id> ids;
  for (const std::uint32_t each : order) ids.push_back(static_cast<request_id>(each));
  return ids;
}

/// Pairs of orders of one case, and whether the decoder ranks them as they are.
struct ranking {
  int agree = 0, disagree = 0;
  int agree_clear = 0, disagree_clear = 0;  ///< of them, more than a hundredth apart in reality

  void add(const std::vector<double>& predicted, const std::vector<double>& real) {
    for (std::size_t i = 0; i < real.size(); ++i) {
      for (std::size_t k = 0; k < i; ++k) {
        const double gap = real[i] - real[k];
        if (gap == 0.0) continue;
        const bool same = gap * (predicted[i] - predicted[k]) > 0.0;
        ++(same ? agree : disagree);
        if (std::abs(gap) > 0.01 * real[k]) ++(same ? agree_clear : disagree_clear);
      }
    }
  }
  [[nodiscard]] double kendall_tau() const {
    return static_cast<double>(agree - disagree) / (agree + disagree);
  }
};

/// scheduler_core with the requests of a case, whose steps last as long as it predicts itself.
/// Every request uses all of its max_tokens.
struct core_on_virtual_time {
  explicit core_on_virtual_time(batch_case given)
      : of(std::move(given)), core(scheduler_limits_of(of)) {}

  void submit(std::uint32_t index, std::int32_t priority) {
    generation_params params;
    params.stopping.max_tokens = of.requests[index].output_tokens;
    params.stopping.ignore_eos = true;
    schedule_request request;
    request.id = of.view.waiting[index].id;
    request.service = lane::async;
    request.priority = priority;
    request.prompt = of.view.waiting[index].prompt;
    request.params = std::make_shared<const generation_params>(params);
    core.enqueue(std::move(request), {}).value();
  }
  void step() {
    const auto planned = core.plan(now);
    REQUIRE(!planned.plan.slices.empty());
    step_result result;
    result.id = planned.plan.id;
    for (const step_slice& slice : planned.plan.slices)
      result.slices.emplace_back().sampled.resize(slice.sample ? 1 : 0);
    result.compute_ms = cost_model(of.view.cost).predict_ms(shape_of(planned.plan));
    now += std::chrono::nanoseconds(std::llround(result.compute_ms * 1e6));
    core.complete(result, now);
    core.check_integrity();
  }

  batch_case of;
  scheduler_core core;
  monotonic_time now{};
};

async_running running_of(const prompt_ptr& prompt, std::uint32_t output, std::uint32_t missing) {
  async_running made;
  made.prompt = prompt;
  made.output_tokens = output;
  made.missing_tokens = missing;
  made.max_tokens = output + 40;
  return made;
}

}  // namespace

TEST_CASE("the decoder predicts what the scheduler does", "[compose]") {
  const batch_workload workload = GENERATE(from_range(all_batch_workloads));
  CAPTURE(to_string(workload));
  ranking pairs;
  double makespan_error = 0.0, objective_error = 0.0;
  double recomputed = 0.0, real_recomputed = 0.0;
  double preemptions = 0.0, real_preemptions = 0.0;
  int runs = 0;
  for (const std::uint32_t size : {8u, 40u, 160u}) {
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
      const batch_case made = make_batch_case(workload, size, seed);
      const batch_problem problem = problem_of(made);
      batch_replay replay(problem);
      search_random random(seed, search_random::stream::search);
      std::vector<double> predicted, real;
      for (std::uint32_t i = 0; i < 12; ++i) {
        const auto order = shuffled(size, random);
        const std::uint32_t seats = std::max(1u, made.view.limits.sequences_max / (1 + i % 3));
        const replay_outcome guess = replay.run(order, seats, 0);
        const realized_batch truth = realize(made, ids_of(order), seats, {});
        predicted.push_back(guess.objective_ms);
        real.push_back(truth.objective_ms);
        makespan_error += std::abs(guess.makespan_ms / truth.makespan_ms - 1.0);
        objective_error += std::abs(guess.objective_ms / truth.objective_ms - 1.0);
        recomputed += static_cast<double>(guess.recomputed_rows);
        real_recomputed += static_cast<double>(truth.recomputed_rows);
        preemptions += static_cast<double>(guess.preemptions);
        real_preemptions += static_cast<double>(truth.preemptions);
        ++runs;
      }
      pairs.add(predicted, real);
    }
  }
  INFO("makespan " << 100.0 * makespan_error / runs << " %, objective "
                   << 100.0 * objective_error / runs << " %, tau " << pairs.kendall_tau()
                   << ", clear pairs wrong " << pairs.disagree_clear << " of "
                   << pairs.agree_clear + pairs.disagree_clear << ", recomputed " << recomputed
                   << " for " << real_recomputed << ", preemptions " << preemptions << " for "
                   << real_preemptions);
  CHECK(makespan_error / runs < 0.005);
  CHECK(objective_error / runs < 0.01);
  CHECK(pairs.kendall_tau() > 0.9);
  CHECK(pairs.disagree_clear * 20 < pairs.agree_clear);
  CHECK(std::abs(recomputed - real_recomputed) <= 0.1 * real_recomputed + 16.0);
  CHECK(std::abs(preemptions - real_preemptions) <= 0.05 * real_preemptions + 1.0);
}

TEST_CASE("in the middle of a run the decoder predicts the rest of it", "[compose]") {
  const batch_workload workload =
      GENERATE(batch_workload::tight_blocks, batch_workload::prefix_pool, batch_workload::blend);
  const std::uint64_t seed = GENERATE(range(1, 7));
  const bool has_priorities = GENERATE(false, true);
  CAPTURE(to_string(workload), seed, has_priorities);
  constexpr std::uint32_t size = 150;
  search_random random(seed, search_random::stream::search);
  core_on_virtual_time engine(make_batch_case(workload, size, seed));
  for (std::uint32_t i = 0; i < size; ++i)
    engine.submit(i, has_priorities ? static_cast<std::int32_t>(random.below(3)) : 0);
  const std::uint32_t left = size / 2 + random.below(size / 3);
  const bool wants_preempted = workload == batch_workload::tight_blocks;
  std::optional<async_batch_view> view;
  do {
    engine.step();
    REQUIRE(engine.core.has_work());
    view = engine.core.async_view(engine.now);
  } while (!view || view->waiting.size() > left ||
           (wants_preempted && !view->waiting[0].preempted));
  const batch_problem problem(*view, {}, seed);
  auto order = shuffled(problem.waiting_count, random);
  std::ranges::stable_sort(order, {}, [&](std::uint32_t i) { return problem.precedence[i]; });
  const std::uint32_t seats = view->limits.sequences_max / (1 + random.below(2));
  const replay_outcome guess = batch_replay(problem).run(order, seats, 0);

  async_plan plan;
  for (const std::uint32_t i : order) plan.order.push_back(view->waiting[i].id);
  plan.running_max = seats;
  engine.core.apply(plan, engine.now);
  const std::uint64_t preemptions_before = engine.core.counts().preemptions;
  const monotonic_time begin = engine.now;
  while (engine.core.has_work()) engine.step();
  const double makespan_ms = std::chrono::duration<double, std::milli>(engine.now - begin).count();
  const auto preemptions =
      static_cast<double>(engine.core.counts().preemptions - preemptions_before);
  INFO(
      "preempted and waiting " << std::ranges::count(view->waiting, true, &async_waiting::preempted)
                               << ", running " << view->running.size() << ", preemptions "
                               << preemptions);
  CHECK(guess.makespan_ms == Approx(makespan_ms).epsilon(0.02));
  CHECK(static_cast<double>(guess.preemptions) == Approx(preemptions).epsilon(0.1).margin(2.0));
}

TEST_CASE("a replay is a function of its order", "[compose]") {
  const batch_case made = make_batch_case(batch_workload::prefix_deadlines, 60, 3);
  const batch_problem problem(made.view, {}, 3);
  batch_replay replay(problem), fresh(problem);
  search_random random(3, search_random::stream::search);
  const auto first = shuffled(60, random), second = shuffled(60, random);
  const double before = replay.run(first, 16, 0).objective_ms;
  replay.run(second, 4, 5);
  CHECK(replay.run(first, 16, 0).objective_ms == before);
  CHECK(fresh.run(first, 16, 0).objective_ms == before);
}

TEST_CASE("what a smaller running set promises is doubted as far as the cost model errs",
          "[compose]") {
  batch_case made = make_batch_case(batch_workload::prefix_deadlines, 60, 3);
  const batch_problem certain(made.view, {}, 3);
  made.view.cost_error = 0.07;
  const batch_problem doubtful(made.view, {}, 3);
  search_random random(3, search_random::stream::search);
  const auto order = shuffled(60, random);
  const std::uint32_t most = certain.limits.sequences_max;
  for (const std::uint32_t bound : {most / 2, most - 1, most}) {
    const replay_outcome sure = batch_replay(certain).run(order, bound, 0);
    const replay_outcome unsure = batch_replay(doubtful).run(order, bound, 0);
    CHECK(unsure.makespan_ms == sure.makespan_ms);
    CHECK(unsure.objective_ms == Approx(sure.objective_ms * (bound == most ? 1.0 : 1.14)));
  }
}

TEST_CASE("large running sets are bounded in fours", "[compose]") {
  batch_case made = make_batch_case(batch_workload::plain, 60, 3);
  made.view.limits.sequences_max = 18;
  const batch_problem large(made.view, {}, 3);
  CHECK(large.bound_near(9.0) == 8);
  CHECK(large.bound_near(10.0) == 12);
  CHECK(large.bound_near(17.9) == 18);  // the most, which need not be a multiple
  CHECK(large.bound_near(-3.0) == large.width_max);
  made.view.limits.sequences_max = 15;
  const batch_problem small(made.view, {}, 3);
  CHECK(small.bound_near(9.0) == 9);
  made.view.limits.sequences_max = 16;
  CHECK(batch_problem(made.view, {}, 3).bound_near(9.0) == 8);
}

TEST_CASE("what runs goes on beside what waits", "[compose]") {
  batch_case made = make_batch_case(batch_workload::prefix_pool, 12, 5);
  const batch_problem alone(made.view, {}, 5);
  for (std::uint32_t i = 0; i < 3; ++i)
    made.view.running.push_back(running_of(made.view.waiting[i].prompt, 7 * i, i == 0 ? 100 : 0));
  const batch_problem beside(made.view, {}, 5);
  std::vector<std::uint32_t> order(12);
  std::iota(order.begin(), order.end(), 0u);
  const replay_outcome without = batch_replay(alone).run(order, 16, 0);
  const replay_outcome with = batch_replay(beside).run(order, 16, 0);
  CHECK(with.makespan_ms > without.makespan_ms);
  // They hold prefixes that others then need not compute.
  CHECK(with.makespan_ms < 2.0 * without.makespan_ms);
}

TEST_CASE("replays end for views at their limits", "[compose]") {
  const std::uint64_t seed = GENERATE(range(1, 40));
  CAPTURE(seed);
  search_random random(seed, search_random::stream::search);
  const std::uint32_t size = 1 + random.below(24);
  batch_case made =
      make_batch_case(all_batch_workloads[seed % all_batch_workloads.size()], size, seed);
  async_limits& limits = made.view.limits;
  limits.block_count = 1 + random.below(limits.block_count);
  limits.sequences_max = 1 + random.below(8);
  limits.starts_max = 1 + random.below(4);
  limits.step_tokens_max = 1 + random.below(100);
  limits.step_ms_max = random.below(2) == 0 ? 0.0 : 1.0 + random.below(100);
  limits.enable_prefix_caching = random.below(3) != 0;
  for (async_waiting& each : made.view.waiting) {
    each.n = 1 + random.below(3);
    each.cached_blocks = random.below(40);
    each.output_tokens = random.below(3) == 0 ? random.below(each.max_tokens + 1) : 0;
    each.max_tokens = random.below(4) == 0 ? 0 : each.max_tokens;
  }
  for (std::uint32_t i = random.below(6); i != 0; --i) {
    const prompt_ptr& prompt = made.view.waiting[random.below(size)].prompt;
    const auto missing = random.below(static_cast<std::uint32_t>(prompt->size()));
    made.view.running.push_back(running_of(prompt, random.below(30), missing));
  }
  const batch_problem problem(made.view, {}, seed);
  batch_replay replay(problem);
  for (std::uint32_t sample = 0; sample < compose_sample_count; ++sample) {
    const auto outcome = replay.run(shuffled(size, random), 1 + random.below(8), sample);
    CHECK(std::isfinite(outcome.objective_ms));
    CHECK(outcome.makespan_ms > 0.0);
  }
}
