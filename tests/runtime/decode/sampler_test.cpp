// The sampler against a naive double implementation on random rows and parameters, and its edge
// cases: ties, NaN, infinities, forbidden ids, extreme temperatures, penalties, logprobs.
#include "runtime/decode/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include <catch2/catch.hpp>

#include "runtime/decode/vocabulary_scan.hpp"
#include "tests/runtime/decode/naive_sampler.hpp"

using namespace troupe;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

sampling_params greedy() {
  sampling_params params;
  params.temperature = 0;
  return params;
}

std::vector<token_id> ids(std::initializer_list<int> values) {
  std::vector<token_id> out;
  for (const int value : values) out.push_back(static_cast<token_id>(value));
  return out;
}

std::vector<float> random_row(std::mt19937& random, std::size_t size) {
  std::vector<float> row(size);
  std::normal_distribution<float> normal(0, std::uniform_real_distribution<float>(0.1f, 8)(random));
  for (float& value : row) value = normal(random);
  if (random() % 3 == 0) {
    for (float& value : row) value = std::round(value);  // many ties
  }
  if (random() % 4 == 0) {
    for (float& value : row) {
      if (random() % 5 == 0) value = random() % 2 ? nan_value : -infinity;
    }
  }
  return row;
}

sampling_params random_params(std::mt19937& random, std::size_t size) {
  const auto unit = [&] { return std::uniform_real_distribution<float>(0, 1)(random); };
  sampling_params params;
  const float temperatures[] = {1e-3f, 0.1f, 0.7f, 1.0f, 1.5f, 10.0f, 100.0f};
  params.temperature = temperatures[random() % 7];
  if (random() % 2) params.top_k = static_cast<int>(random() % (random() % 2 ? 8 : size + 2));
  if (random() % 2) params.top_p = 0.01f + 0.99f * unit();
  if (random() % 3 == 0) params.min_p = unit() * unit();
  if (random() % 3 == 0) params.repetition_penalty = 0.5f + unit();
  if (random() % 3 == 0) params.presence_penalty = 4 * unit() - 2;
  if (random() % 3 == 0) params.frequency_penalty = 4 * unit() - 2;
  params.seed = random();
  if (random() % 3 == 0) {
    params.logit_bias.push_back({static_cast<token_id>(random() % size), 20 * unit() - 10});
  }
  return params;
}

std::vector<token_id> random_ids(std::mt19937& random, std::size_t size, std::size_t count) {
  std::vector<token_id> out(random() % (count + 1));
  for (token_id& id : out) id = static_cast<token_id>(random() % size);
  return out;
}

}  // namespace

TEST_CASE("greedy takes the largest, ties go to the lowest id") {
  sampler draw(200);
  std::vector<float> row(200, -1.0f);
  row[70] = row[150] = 2.0f;
  CHECK(draw.sample(row, greedy(), {}).token == token_id{70});
  row[199] = 3.0f;
  CHECK(draw.sample(row, greedy(), {}).token == token_id{199});
  row[3] = infinity;
  CHECK(draw.sample(row, greedy(), {}).token == token_id{3});
  CHECK(draw.sample(row, sampling_params{}, {}).token == token_id{3});
}

TEST_CASE("NaN counts as minus infinity, and a row of nothing still gives an allowed token") {
  sampler draw(130);
  std::vector<float> row(130, nan_value);
  row[129] = -1e30f;
  CHECK(draw.sample(row, greedy(), {}).token == token_id{129});
  CHECK(draw.sample(row, sampling_params{}, {}).token == token_id{129});
  row[129] = -infinity;
  const auto forbidden = ids({0, 1, 3});
  sampling_context context;
  CHECK(draw.sample(row, sampling_params{}, context).token == token_id{0});
  context.forbidden = forbidden;
  CHECK(draw.sample(row, greedy(), context).token == token_id{2});
  std::vector<token_id> all;
  for (int i = 0; i < 130; ++i) all.push_back(static_cast<token_id>(i));
  context.forbidden = all;
  CHECK(draw.sample(std::vector<float>(130, 1.0f), greedy(), context).token == token_id{0});
}

TEST_CASE("the fast sampler draws what the naive one draws") {
  const unsigned seed = 20240607;
  CAPTURE(seed);
  std::mt19937 random(seed);
  int borderline = 0;
  for (int round = 0; round < 6000; ++round) {
    const std::size_t size = 1 + random() % (round % 10 == 0 ? 3000 : 300);
    sampler draw(size);
    const std::vector<float> row = random_row(random, size);
    const sampling_params params = random_params(random, size);
    const auto prompt = random_ids(random, size, 20);
    const auto output = random_ids(random, size, 20);
    const auto forbidden = random_ids(random, size, 3);
    const sampling_context context{prompt, output, forbidden,
                                   static_cast<std::uint32_t>(random() % 4), random() % 1000};
    const std::uint32_t drawn = static_cast<std::uint32_t>(draw.sample(row, params, context).token);
    const auto exact = naive::processed(row, params, context);
    const auto wide = naive::survivors(exact, params, 1e-4);
    const auto narrow = naive::survivors(exact, params, -1e-4);
    if (wide.empty()) continue;
    const std::uint32_t from_wide = naive::draw(wide, params, context);
    const std::uint32_t from_narrow = naive::draw(narrow, params, context);
    if (drawn != from_wide && drawn != from_narrow) {
      // Float penalties and a temperature of 1e-3 turn roundings into key differences; count those.
      const double gap = std::abs(exact[drawn] - exact[from_wide]) / params.temperature;
      CAPTURE(round, size, drawn, from_wide, params.temperature, params.top_k, params.top_p,
              params.min_p);
      REQUIRE(gap < 1e-2);
      ++borderline;
    }
  }
  CHECK(borderline < 6);
}

TEST_CASE("top_k = 1, a tiny top_p, min_p = 1 and a tiny temperature are greedy") {
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    const std::size_t size = 1 + random() % 400;
    sampler draw(size);
    std::vector<float> row(size);
    for (float& value : row) value = static_cast<float>(static_cast<int>(random() % 40)) - 20.0f;
    const token_id expected = draw.sample(row, greedy(), {}).token;
    sampling_params params;
    params.seed = random();
    params.top_k = 1;
    CHECK(draw.sample(row, params, {}).token == expected);
    params.top_k = 0;
    params.top_p = 1e-6f;
    CHECK(draw.sample(row, params, {}).token == expected);
    params.top_p = 1.0f;
    params.temperature = 1e-6f;
    CHECK(draw.sample(row, params, {}).token == expected);
    params.temperature = 1e-3f;
    const float drawn = row[to_index(draw.sample(row, params, {}).token)];
    CHECK(drawn == row[to_index(expected)]);
    params.temperature = 50.0f;
    params.min_p = 1.0f;
    CHECK(row[to_index(draw.sample(row, params, {}).token)] == row[to_index(expected)]);
  }
}

TEST_CASE("extreme temperatures and logits stay finite") {
  sampler draw(4);
  const std::vector<float> row{std::numeric_limits<float>::max(),
                               std::numeric_limits<float>::lowest(), 0.0f, 1e-38f};
  for (const float temperature : {1e-3f, 1.0f, 100.0f, 1e30f}) {
    sampling_params params;
    params.temperature = temperature;
    params.top_p = 0.9f;
    params.logprobs = 4;
    const sampled_token drawn = draw.sample(row, params, {});
    CHECK(to_index(drawn.token) < 4);
    CHECK(!std::isnan(drawn.logprob));
  }
}

TEST_CASE("penalties follow vLLM: divide positive, multiply negative, count the output") {
  sampler draw(4);
  const std::vector<float> row{2.0f, 1.5f, -1.0f, 0.5f};
  sampling_params params = greedy();
  params.repetition_penalty = 2.0f;
  const auto prompt = ids({0});
  sampling_context context;
  context.prompt = prompt;
  CHECK(draw.sample(row, params, context).token == token_id{1});  // 2 / 2 < 1.5
  params.repetition_penalty = 1.0f;
  params.frequency_penalty = 0.4f;
  const auto output = ids({0, 0, 0});
  context.output = output;
  CHECK(draw.sample(row, params, context).token == token_id{1});  // 2 - 3 * 0.4 < 1.5
  params.frequency_penalty = 0.0f;
  params.presence_penalty = 0.4f;
  CHECK(draw.sample(row, params, context).token == token_id{0});  // 2 - 0.4 > 1.5
  params.presence_penalty = 0.6f;
  CHECK(draw.sample(row, params, context).token == token_id{1});
  context.output = {};
  CHECK(draw.sample(row, params, context).token == token_id{0});  // no penalty on prompt tokens
}

TEST_CASE("logprobs are those of the raw logits, whatever the processors do") {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    const std::size_t size = 2 + random() % 500;
    sampler draw(size);
    std::vector<float> row(size);
    for (float& value : row) value = std::normal_distribution<float>(0, 5)(random);
    sampling_params params = random_params(random, size);
    params.logprobs = static_cast<std::uint32_t>(random() % 21);
    const sampled_token drawn = draw.sample(row, params, {});
    double total = 0;
    for (const float value : row) total += std::exp(static_cast<double>(value));
    const float logit = row[to_index(drawn.token)];
    CHECK(drawn.logprob == Approx(logit - std::log(total)).margin(2e-5));
    CHECK(drawn.rank ==
          1 + std::count_if(row.begin(), row.end(), [&](float v) { return v > logit; }));
    REQUIRE(drawn.top.size() == std::min<std::size_t>(*params.logprobs, size));
    std::vector<std::uint32_t> order(size);
    for (std::uint32_t i = 0; i < size; ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return row[a] > row[b]; });
    for (std::size_t i = 0; i < drawn.top.size(); ++i) {
      CHECK(to_index(drawn.top[i].token) == order[i]);
      CHECK(drawn.top[i].logprob == Approx(row[order[i]] - std::log(total)).margin(2e-5));
    }
    const sampled_token scored = draw.score(row, drawn.token, *params.logprobs);
    CHECK(scored.logprob == drawn.logprob);
    CHECK(scored.rank == drawn.rank);
  }
}

TEST_CASE("no logprobs are computed unless asked for") {
  sampler draw(3);
  const std::vector<float> row{0, 1, 2};
  CHECK(draw.sample(row, greedy(), {}).rank == 0);
  CHECK(draw.sample(row, greedy(), {}).top.empty());
}

TEST_CASE("exp_nonpositive is exact to 2e-7 relative") {
  for (float x = 0.0f; x > -86.0f; x -= 0.00137f) {
    REQUIRE(exp_nonpositive(x) == Approx(std::exp(static_cast<double>(x))).epsilon(2e-7));
  }
  CHECK(exp_nonpositive(0.0f) == 1.0f);
  CHECK(exp_nonpositive(-1e30f) < 2e-38f);
  CHECK(exp_nonpositive(nan_value) < 2e-38f);
}
