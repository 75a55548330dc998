// The cost model against machines whose costs are known: it learns them from noisy steps with
// outliers among them, predicts steps unlike those that it saw, follows a machine that becomes
// slower, and its chunks are what its predictions say. All seeds are printed.
#include "runtime/schedule/cost_model.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

namespace troupe {
namespace {

using random_engine = std::mt19937_64;

std::uint32_t between(random_engine& random, std::uint32_t least, std::uint32_t most) {
  return std::uniform_int_distribution<std::uint32_t>(least, most)(random);
}

/// A machine whose steps take what a profile says, but for the floor of memory that hides the
/// arithmetic of a few rows.
struct machine {
  cost_profile costs;
  double floor_ms = 0.0;

  [[nodiscard]] double ms(const step_shape& shape) const {
    const double sum = costs.step_ms + costs.row_tile_ms * ((shape.tokens() + 15) / 16) +
                       costs.row_ms * shape.tokens() + costs.logit_row_ms * shape.logit_rows +
                       costs.decode_pair_us * 1e-3 * static_cast<double>(shape.decode_pairs) +
                       costs.prefill_pair_us * 1e-3 * static_cast<double>(shape.prefill_pairs);
    return std::max(floor_ms, sum);
  }
};

/// Costs up to three times as high or as low as the prior's, each by itself, and all of them up to
/// a hundred times.
machine random_machine(random_engine& random) {
  std::uniform_real_distribution<double> each(-std::log(3.0), std::log(3.0));
  std::uniform_real_distribution<double> all(-std::log(100.0), std::log(100.0));
  const double factor = std::exp(all(random));
  machine made;
  for (double* cost :
       {&made.costs.step_ms, &made.costs.row_tile_ms, &made.costs.row_ms, &made.costs.logit_row_ms,
        &made.costs.decode_pair_us, &made.costs.prefill_pair_us})
    *cost *= factor * std::exp(each(random));
  made.floor_ms = 1.3 * made.ms({.decode_sequences = 1, .decode_pairs = 1, .logit_rows = 1});
  return made;
}

step_shape decodes(std::uint32_t sequences, std::uint32_t context) {
  step_shape shape;
  for (std::uint32_t i = 0; i < sequences; ++i) shape.add(1, context, 1);
  return shape;
}

step_shape prefill(std::uint32_t rows, std::uint32_t position_first) {
  step_shape shape;
  shape.add(rows, position_first, 1);
  return shape;
}

/// As a server sees them: mostly decodes, a chunk of a prompt beside them now and then.
step_shape random_step(random_engine& random) {
  step_shape shape = decodes(between(random, 0, 40), between(random, 10, 1500));
  if (shape.decode_sequences == 0 || between(random, 0, 4) == 0)
    shape.add(between(random, 2, 400), between(random, 0, 3) * 300, 1);
  return shape;
}

/// 5 % of noise, and one step in 20 takes two to ten times as long.
double noisy(random_engine& random, double ms) {
  ms *= std::exp(std::normal_distribution<double>(0.0, 0.05)(random));
  return between(random, 0, 19) == 0 ? ms * between(random, 2, 10) : ms;
}

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::ranges::nth_element(values, middle);
  return *middle;
}

/// Median relative error of `count` steps, each predicted before it is observed.
double run(cost_model& model, random_engine& random, const machine& truth, int count) {
  std::vector<double> errors;
  for (int i = 0; i < count; ++i) {
    const step_shape shape = random_step(random);
    const double ms = noisy(random, truth.ms(shape));
    errors.push_back(std::abs(model.predict_ms(shape) / ms - 1.0));
    model.observe(shape, ms);
  }
  return median_of(errors);
}

void check_positive(const cost_profile& costs) {
  for (const double each : {costs.step_ms, costs.row_tile_ms, costs.row_ms, costs.logit_row_ms,
                            costs.decode_pair_us, costs.prefill_pair_us})
    CHECK((each > 0.0 && std::isfinite(each)));
}

TEST_CASE("within 200 steps the error is below a tenth on any machine", "[schedule][cost]") {
  for (const unsigned seed : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 10u, 11u, 12u}) {
    INFO("seed " << seed);
    random_engine random(seed);
    const machine truth = random_machine(random);
    cost_model model;
    CHECK(model.error() == 0.0);
    run(model, random, truth, 200);
    CHECK(model.error() <= 0.10);
    CHECK(run(model, random, truth, 500) <= 0.10);
    check_positive(model.profile());
  }
}

TEST_CASE("a machine that becomes slower or faster is followed", "[schedule][cost]") {
  for (const double factor : {2.0, 0.5}) {
    for (const unsigned seed : {21u, 22u, 23u, 24u}) {
      INFO("seed " << seed << ", factor " << factor);
      random_engine random(seed);
      machine truth = random_machine(random);
      cost_model model;
      run(model, random, truth, 600);
      for (double* cost : {&truth.costs.step_ms, &truth.costs.row_tile_ms, &truth.costs.row_ms,
                           &truth.costs.logit_row_ms, &truth.costs.decode_pair_us,
                           &truth.costs.prefill_pair_us, &truth.floor_ms})
        *cost *= factor;
      run(model, random, truth, 100);
      CHECK(run(model, random, truth, 100) <= 0.12);
    }
  }
}

TEST_CASE("one step shows a machine's speed in every kind of step", "[schedule][cost]") {
  const cost_model prior;
  for (const double factor : {0.02, 50.0}) {
    cost_model model;
    const step_shape seen = prefill(200, 0);
    model.observe(seen, factor * prior.predict_ms(seen));
    for (const step_shape& shape : {seen, decodes(1, 20), decodes(64, 900), prefill(400, 3000)})
      CHECK(model.predict_ms(shape) == Approx(factor * prior.predict_ms(shape)).epsilon(0.02));
  }
}

TEST_CASE("what prompts cost is remembered through thousands of decodes", "[schedule][cost]") {
  random_engine random(31);
  INFO("seed 31");
  const machine truth = random_machine(random);
  cost_model model;
  run(model, random, truth, 400);
  const step_shape prompt = prefill(300, 600);
  for (const int steps : {1000, 4000}) {
    for (int i = 0; i < steps; ++i) {
      const step_shape shape = decodes(between(random, 1, 8), between(random, 100, 1500));
      model.observe(shape, noisy(random, truth.ms(shape)));
    }
    CHECK(model.predict_ms(prompt) == Approx(truth.ms(prompt)).epsilon(0.25));
  }
}

TEST_CASE("prompts that were never seen are predicted in proportion to decodes",
          "[schedule][cost]") {
  const cost_model prior;
  cost_model model;
  const machine truth{};
  for (int i = 0; i < 5000; ++i) {
    const step_shape shape = decodes(1, 100 + static_cast<std::uint32_t>(i) % 50);
    model.observe(shape, 3.0 * truth.ms(shape));
  }
  const step_shape prompt = prefill(512, 0);
  CHECK(model.predict_ms(prompt) == Approx(3.0 * truth.ms(prompt)).epsilon(0.5));
}

TEST_CASE("equal steps for ever, absurd durations and empty steps do no harm", "[schedule][cost]") {
  cost_model model;
  const step_shape only = decodes(16, 500);
  for (int i = 0; i < 20'000; ++i) model.observe(only, 9.0);
  CHECK(model.predict_ms(only) == Approx(9.0).epsilon(0.01));
  CHECK(model.error() < 0.01);
  const double before = model.predict_ms(prefill(300, 0));
  for (const double ms : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(),
                          std::numeric_limits<double>::infinity()})
    model.observe(only, ms);
  model.observe({}, 5.0);
  CHECK(model.predict_ms(prefill(300, 0)) == before);

  model.observe(only, 1e9);  // once: hardly noticed
  CHECK(model.predict_ms(only) == Approx(9.0).epsilon(0.05));
  random_engine random(41);
  INFO("seed 41");
  for (int i = 0; i < 2'000; ++i) {
    const double exponent = std::uniform_real_distribution<double>(-9.0, 9.0)(random);
    model.observe(random_step(random), std::pow(10.0, exponent));
    if (i % 100 == 0) check_positive(model.profile());
  }
}

TEST_CASE("a chunk is the largest whose step is predicted to end in time", "[schedule][cost]") {
  random_engine random(51);
  INFO("seed 51");
  cost_model model;
  run(model, random, random_machine(random), 300);
  for (int i = 0; i < 500; ++i) {
    step_shape beside = random_step(random);
    if (i % 2 == 0) beside = decodes(between(random, 1, 64), between(random, 10, 2000));
    const std::uint32_t position = between(random, 0, 8000);
    const double ms_max = model.predict_ms(beside) * between(random, 1, 20) / 4.0;
    const std::uint32_t least = cost_model::prefill_tokens_min -
                                std::min(cost_model::prefill_tokens_min, beside.prefill_tokens);
    const std::uint32_t tokens = model.prefill_tokens_within(ms_max, beside, position);
    const auto with = [&](std::uint32_t rows) {
      step_shape shape = beside;
      shape.add_prefill(rows, position, 1);
      return model.predict_ms(shape);
    };
    CHECK(tokens >= least);
    if (tokens > least) CHECK(with(tokens) <= ms_max);
    CHECK(with(tokens + 1) > ms_max);
    CHECK(model.prefill_tokens_within(ms_max * 1.1, beside, position) >= tokens);
    CHECK(model.prefill_tokens_within(ms_max, beside, position + 500) <= tokens);
  }
}

TEST_CASE("before a step was measured, prompts are cut carefully", "[schedule][cost]") {
  cost_model model;
  CHECK(model.prefill_tokens_within(1e9, {}, 0) == cost_model::prefill_tokens_unmeasured);
  CHECK(model.prefill_tokens_within(1e9, prefill(100, 0), 0) ==
        cost_model::prefill_tokens_unmeasured - 100);
  CHECK(model.prefill_tokens_within(0.0, decodes(40, 10), 0) == cost_model::prefill_tokens_min);
  model.observe(prefill(256, 0), 50.0);
  CHECK(model.prefill_tokens_within(1e9, {}, 0) > 10'000);
}

TEST_CASE("a fitted profile is a prior that needs no learning", "[schedule][cost]") {
  random_engine random(61);
  INFO("seed 61");
  const machine truth = random_machine(random);
  cost_model first;
  run(first, random, truth, 500);
  const cost_model second(first.profile());
  for (int i = 0; i < 50; ++i) {
    const step_shape shape = random_step(random);
    CHECK(second.predict_ms(shape) == Approx(first.predict_ms(shape)));
  }
}

}  // namespace
}  // namespace troupe
