// What is drawn follows the softmax: chi-square tests against exact probabilities with fixed seeds,
// and replay: the same (seed, sequence, position) draws the same token, any other draws
// independently.
#include <cmath>
#include <random>

#include <catch2/catch.hpp>

#include "runtime/decode/sampler.hpp"
#include "tests/runtime/decode/naive_sampler.hpp"

using namespace troupe;

namespace {

// Chi-square over cells with an expectation of at least 10 (the rest is pooled). Wilson-Hilferty
// makes the statistic a standard normal.
double chi_square_z(const std::vector<double>& probability, const std::vector<int>& counts,
                    int draws) {
  double statistic = 0, pooled_expected = 0, pooled_count = 0;
  int cells = 0;
  const auto add = [&](double expected, double count) {
    statistic += (count - expected) * (count - expected) / expected;
    ++cells;
  };
  for (std::size_t i = 0; i < probability.size(); ++i) {
    const double expected = probability[i] * draws;
    if (expected >= 10) {
      add(expected, counts[i]);
    } else {
      pooled_expected += expected;
      pooled_count += counts[i];
    }
  }
  if (pooled_expected >= 10) add(pooled_expected, pooled_count);
  const double freedom = cells - 1;
  if (freedom < 1) return 0;
  const double spread = 2.0 / (9.0 * freedom);
  return (std::cbrt(statistic / freedom) - (1 - spread)) / std::sqrt(spread);
}

sampling_params seeded(std::uint64_t seed) {
  sampling_params params;
  params.seed = seed;
  return params;
}

void check_distribution(const std::vector<float>& row, sampling_params params) {
  constexpr int draws = 60000;
  const auto kept = naive::survivors(naive::processed(row, params, {}), params, 0);
  std::vector<double> probability(row.size(), 0.0);
  double total = 0;
  for (const auto& token : kept) {
    probability[token.id] = std::exp((token.logit - kept.front().logit) / params.temperature);
    total += probability[token.id];
  }
  for (double& value : probability) value /= total;
  sampler draw(row.size());
  std::vector<int> counts(row.size(), 0);
  for (int i = 0; i < draws; ++i) {
    sampling_context context;
    context.position = static_cast<std::uint64_t>(i / 4);
    context.sequence = static_cast<std::uint32_t>(i % 4);
    const auto id = to_index(draw.sample(row, params, context).token);
    REQUIRE(probability[id] > 0);
    ++counts[id];
  }
  const double z = chi_square_z(probability, counts, draws);
  CAPTURE(z, params.temperature, params.top_k, params.top_p, params.min_p);
  CHECK(z < 3.5);
  CHECK(z > -3.5);
}

}  // namespace

TEST_CASE("draws follow the softmax") {
  std::mt19937 random(99);
  std::vector<float> row(150);
  for (float& value : row) value = std::normal_distribution<float>(0, 2)(random);
  sampling_params params;
  params.seed = 0x123456789abcdefull;
  SECTION("temperature 1") {}
  SECTION("flat") {
    params.temperature = 100.0f;
  }
  SECTION("sharp") {
    params.temperature = 0.3f;
  }
  SECTION("top_k") {
    params.top_k = 12;
  }
  SECTION("top_p") {
    params.top_p = 0.8f;
  }
  SECTION("min_p") {
    params.min_p = 0.05f;
  }
  SECTION("all together") {
    params.top_k = 30;
    params.top_p = 0.9f;
    params.min_p = 0.01f;
    params.temperature = 1.3f;
  }
  check_distribution(row, params);
}

TEST_CASE("equal logits are drawn equally often") {
  check_distribution(std::vector<float>(67, 1.0f), seeded(3));
}

TEST_CASE("a draw is a function of seed, sequence and position alone") {
  std::mt19937 random(4);
  std::vector<float> row(1000);
  for (float& value : row) value = std::normal_distribution<float>(0, 1)(random);
  sampler first(row.size());
  sampler second(row.size());
  sampling_params params;
  params.seed = 77;
  for (std::uint64_t position = 0; position < 200; ++position) {
    sampling_context context;
    context.position = position;
    const token_id expected = first.sample(row, params, context).token;
    // Another object, after other work, with other fields that do not take part.
    sampling_params noisy = params;
    noisy.logprobs = 5;
    (void)second.sample(row, seeded(random()), {});
    CHECK(second.sample(row, noisy, context).token == expected);
  }
}

TEST_CASE("sequences, positions and seeds are independent of each other") {
  const std::vector<float> row(8, 0.0f);
  sampler draw(row.size());
  // Joint counts of two draws that differ in one coordinate; all 64 pairs are equally likely.
  for (int coordinate = 0; coordinate < 3; ++coordinate) {
    std::vector<int> counts(64, 0);
    constexpr int draws = 20000;
    for (int i = 0; i < draws; ++i) {
      sampling_params params;
      params.seed = 1000;
      sampling_context context;
      context.position = static_cast<std::uint64_t>(2 * i);
      const auto a = to_index(draw.sample(row, params, context).token);
      params.seed += coordinate == 0;
      context.sequence += coordinate == 1;
      context.position += coordinate == 2;
      const auto b = to_index(draw.sample(row, params, context).token);
      ++counts[a * 8 + b];
    }
    const double z = chi_square_z(std::vector<double>(64, 1.0 / 64), counts, draws);
    CAPTURE(coordinate, z);
    CHECK(std::abs(z) < 3.5);
  }
}
