// The decoder against the policy itself: the same requests in the same order through scheduler_core
// on virtual time (virtual_engine). Makespan, recomputed rows and the ranking of orders agree.
#include "runtime/schedule/compose/batch_replay.hpp"

#include <chrono>
#include <cmath>
#include <iostream>
#include <numeric>

#include <catch2/catch.hpp>

#include "bench/compose/batch_cases.hpp"
#include "runtime/schedule/compose/search_random.hpp"

using namespace troupe;
using namespace troupe::bench;

namespace {

/// Every sample has the lengths that the requests will have.
batch_problem problem_of(const batch_case& of, const async_objective& objective = {}) {
  batch_problem problem(of.view, objective, 1);
  for (std::uint32_t i = 0; i < problem.lengths.size(); ++i)
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

struct pair_counts {
  int agree = 0, disagree = 0;              ///< pairs of orders
  int agree_clear = 0, disagree_clear = 0;  ///< of them, more than a hundredth apart in reality
};

void compare(const std::vector<double>& predicted, const std::vector<double>& real,
             pair_counts& counts) {
  for (std::size_t i = 0; i < real.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      const double real_gap = real[i] - real[k], gap = predicted[i] - predicted[k];
      if (real_gap == 0.0) continue;
      const bool same = gap * real_gap > 0.0;
      ++(same ? counts.agree : counts.disagree);
      if (std::abs(real_gap) < 0.01 * real[k]) continue;
      ++(same ? counts.agree_clear : counts.disagree_clear);
    }
  }
}

}  // namespace

TEST_CASE("the decoder predicts what the scheduler does", "[compose]") {
  for (const batch_workload workload : all_batch_workloads) {
    pair_counts counts;
    double makespan_error = 0.0, objective_error = 0.0, rows_error = 0.0, worst = 0.0;
    std::uint64_t preemptions = 0, real_preemptions = 0, recomputed = 0, real_recomputed = 0;
    int runs = 0;
    for (const std::uint32_t size : {8u, 40u, 160u}) {
      for (std::uint64_t seed = 1; seed <= 2; ++seed) {
        const batch_case made = make_batch_case(workload, size, seed);
        const batch_problem problem = problem_of(made);
        batch_replay replay(problem);
        search_random random(seed, search_random::stream::search);
        std::vector<double> predicted, real;
        for (int i = 0; i < 12; ++i) {
          const auto order = shuffled(size, random);
          const std::uint32_t seats = made.view.limits.sequences_max / (1 + i % 3);
          const replay_outcome guess = replay.run(order, seats, 0);
          const realized_batch truth = realize(made, ids_of(order), seats, {});
          predicted.push_back(guess.objective_ms);
          real.push_back(truth.objective_ms);
          const double error = std::abs(guess.makespan_ms / truth.makespan_ms - 1.0);
          makespan_error += error;
          worst = std::max(worst, error);
          objective_error += std::abs(guess.objective_ms / truth.objective_ms - 1.0);
          rows_error += std::abs(static_cast<double>(guess.recomputed_rows) -
                                 static_cast<double>(truth.recomputed_rows));
          recomputed += guess.recomputed_rows;
          real_recomputed += truth.recomputed_rows;
          preemptions += guess.preemptions;
          real_preemptions += truth.preemptions;
          ++runs;
        }
        compare(predicted, real, counts);
      }
    }
    const double tau = double(counts.agree - counts.disagree) / (counts.agree + counts.disagree);
    std::cout << to_string(workload) << ": makespan error " << 100 * makespan_error / runs
              << " % (worst " << 100 * worst << "), objective " << 100 * objective_error / runs
              << " %, tau " << tau << ", clear pairs " << counts.agree_clear << " right "
              << counts.disagree_clear << " wrong; recomputed " << recomputed << " / "
              << real_recomputed << ", preemptions " << preemptions << " / " << real_preemptions
              << "\n";
  }
}
