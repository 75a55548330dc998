#include "bench/compose/compose_bench.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include <fmt/format.h>

#include "bench/compose/batch_cases.hpp"
#include "bench/compose/oracles.hpp"
#include "runtime/schedule/compose/genetic_search.hpp"

namespace troupe::bench {
namespace {

constexpr std::array case_sizes{24u, 96u, 384u};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return (values[values.size() / 2] + values[(values.size() - 1) / 2]) / 2.0;
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::vector<request_id> ids_of(const std::vector<std::uint32_t>& order) {
  std::vector<request_id> ids;
  for (const std::uint32_t each : order) ids.push_back(static_cast<request_id>(each));
  return ids;
}

double best_seed_ms(const batch_problem& problem) {
  order_prediction prediction(problem, no_end);
  return std::ranges::min(prediction.predict_seeds(), {}, &order_candidate::objective_ms)
      .objective_ms();
}

/// More than a thousandth apart.
struct score {
  int wins = 0, ties = 0, losses = 0;
  void add(double ours, double theirs) {
    const double gap = (theirs - ours) / theirs;
    ++(gap > 1e-3 ? wins : gap < -1e-3 ? losses : ties);
  }
};

}  // namespace

void print_decoder(const compose_bench_options& options) {
  fmt::print("{:<17}{:>9}{:>14}{:>17}{:>9}{:>17}{:>18}\n", "workload", "requests", "replay us",
             "scheduler us", "times", "makespan error", "objective error");
  for (const batch_workload workload : all_batch_workloads) {
    for (const std::uint32_t size : {24u, 96u, 512u}) {
      std::vector<double> replay_us, core_us, makespan_error, objective_error;
      for (std::uint64_t seed = 1; seed <= options.seeds; ++seed) {
        const batch_case made = make_batch_case(workload, size, seed);
        batch_problem problem(made.view, {}, seed);
        for (std::size_t i = 0; i < problem.lengths.size(); ++i)
          problem.lengths[i] = made.requests[i % made.requests.size()].output_tokens;
        std::vector<std::uint32_t> order(size);
        std::iota(order.begin(), order.end(), 0u);
        batch_replay replay(problem);
        const std::uint32_t seats = made.view.limits.sequences_max;
        replay.run(order, seats, 0);
        const double begin = thread_ms();
        const replay_outcome guess = replay.run(order, seats, 0);
        const double middle = thread_ms();
        const realized_batch truth = realize(made, ids_of(order), seats, {});
        replay_us.push_back(1e3 * (middle - begin));
        core_us.push_back(1e3 * (thread_ms() - middle));
        makespan_error.push_back(std::abs(guess.makespan_ms / truth.makespan_ms - 1.0));
        objective_error.push_back(std::abs(guess.objective_ms / truth.objective_ms - 1.0));
      }
      fmt::print("{:<17}{:>9}{:>14.1f}{:>17.0f}{:>9.0f}{:>15.2f} %{:>16.2f} %\n",
                 to_string(workload), size, median(replay_us), median(core_us),
                 median(core_us) / median(replay_us), 100.0 * mean(makespan_error),
                 100.0 * mean(objective_error));
    }
  }
}

void print_searches(const compose_bench_options& options) {
  const auto searches = all_searches();
  fmt::print(
      "median gain over the best seed, {} cases each, {} ms each; behind other searches' the "
      "median "
      "of how much less ours is predicted to cost, and cases won/tied/lost\n{:<17}{:>9}",
      options.seeds, options.budget_ms, "workload", "requests");
  for (const named_search& each : searches)
    fmt::print("{:>{}}", each.name, &each == searches.data() ? 11 : 33);
  fmt::print("\n");
  for (const batch_workload workload : all_batch_workloads) {
    for (const std::uint32_t size : case_sizes) {
      std::vector<std::vector<double>> gains(searches.size()), leads(searches.size());
      std::vector<score> scores(searches.size());
      for (std::uint64_t seed = 1; seed <= options.seeds; ++seed) {
        const batch_case made = make_batch_case(workload, size, seed);
        const batch_problem problem(made.view, {}, seed);
        const double base_ms = best_seed_ms(problem);
        double ours_ms = 0.0;
        for (std::size_t i = 0; i < searches.size(); ++i) {
          const double found_ms =
              searches[i].search({problem, options.budget_ms, seed}).objective_ms();
          if (i == 0) ours_ms = found_ms;
          gains[i].push_back(100.0 * (1.0 - found_ms / base_ms));
          leads[i].push_back(100.0 * (1.0 - ours_ms / found_ms));
          scores[i].add(ours_ms, found_ms);
        }
      }
      fmt::print("{:<17}{:>9}{:>9.2f} %", to_string(workload), size, median(gains[0]));
      for (std::size_t i = 1; i < searches.size(); ++i)
        fmt::print("{:>11.2f} %{:>+8.2f} %{:>10}", median(gains[i]), median(leads[i]),
                   fmt::format("{}/{}/{}", scores[i].wins, scores[i].ties, scores[i].losses));
      fmt::print("\n");
      std::fflush(stdout);
    }
  }
}

void print_optimum(std::uint32_t cases) {
  std::vector<double> gaps, seed_gaps;
  int exact = 0;
  for (std::uint32_t i = 0; i < cases; ++i) {
    const batch_workload workload = all_batch_workloads[i % all_batch_workloads.size()];
    const batch_case made = make_batch_case(workload, 4 + i % 5, i);
    const batch_problem problem(made.view, {}, i);
    const double best_ms = search_all(problem).objective_ms();
    order_prediction prediction(
        problem, [](std::uint64_t replays) { return static_cast<double>(replays) / 4000.0; });
    const double found_ms =
        improve_by_genetic_search(problem, prediction, prediction.predict_seeds(), i)
            .objective_ms();
    gaps.push_back(100.0 * (found_ms / best_ms - 1.0));
    seed_gaps.push_back(100.0 * (best_seed_ms(problem) / best_ms - 1.0));
    exact += found_ms <= best_ms * (1.0 + 1e-9) ? 1 : 0;
  }
  fmt::print(
      "{} cases of 4 to 8 requests, 4000 replays each: {:.3f} % above the optimum on average, "
      "{:.2f} % at worst, the optimum itself in {}; the best seed: {:.2f} % on average\n",
      cases, mean(gaps), std::ranges::max(gaps), exact, mean(seed_gaps));
}

void print_gain(const compose_bench_options& options) {
  fmt::print(
      "realized objective in virtual time, {} cases each, {} ms each; heuristic: the one that is "
      "best for the workload\n{:<17}{:>9}{:>12}{:>12}{:>17}{:>22}{:>10}{:>15}\n",
      options.seeds, options.budget_ms, "workload", "requests", "over fifo", "makespan",
      "over heuristic", "heuristic", "predicted", "won/tied/lost");
  for (const batch_workload workload : all_batch_workloads) {
    for (const std::uint32_t size : case_sizes) {
      std::vector<std::vector<double>> seed_ms(all_seed_orders.size());
      std::vector<double> plan_ms, fifo_makespan, plan_makespan, predicted;
      for (std::uint64_t seed = 1; seed <= options.seeds; ++seed) {
        const batch_case made = make_batch_case(workload, size, seed);
        const batch_problem problem(made.view, {}, seed);
        const async_plan plan = compose_batches(made.view, {.seed = seed, .objective = {}},
                                                processor_budget(options.budget_ms));
        const realized_batch ours = realize(made, plan.order, plan.running_max, {});
        plan_ms.push_back(ours.objective_ms);
        plan_makespan.push_back(ours.makespan_ms);
        predicted.push_back(100.0 * plan.improvement_ratio());
        order_prediction prediction(problem, no_end);
        const auto seeds = prediction.predict_seeds();
        for (std::size_t i = 0; i < seeds.size(); ++i) {
          const auto theirs = realize(made, ids_of(seeds[i].order), seeds[i].running_max, {});
          seed_ms[i].push_back(theirs.objective_ms);
          if (i == 0) fifo_makespan.push_back(theirs.makespan_ms);
        }
      }
      const auto best =
          std::ranges::min_element(seed_ms, {}, [](const auto& each) { return mean(each); });
      score against;
      for (std::size_t i = 0; i < plan_ms.size(); ++i) against.add(plan_ms[i], (*best)[i]);
      fmt::print("{:<17}{:>9}{:>10.2f} %{:>10.2f} %{:>15.2f} %{:>22}{:>8.2f} %{:>9}/{}/{}\n",
                 to_string(workload), size, 100.0 * (1.0 - mean(plan_ms) / mean(seed_ms[0])),
                 100.0 * (1.0 - mean(plan_makespan) / mean(fifo_makespan)),
                 100.0 * (1.0 - mean(plan_ms) / mean(*best)),
                 to_string(all_seed_orders[static_cast<std::size_t>(best - seed_ms.begin())]),
                 mean(predicted), against.wins, against.ties, against.losses);
      std::fflush(stdout);
    }
  }
}

}  // namespace troupe::bench
