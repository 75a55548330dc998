// Times of one draw over 49,152 logits, printed and not judged (the median, because the mean of a
// busy machine says nothing): run by name with the tag [.speed].
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>

#include <catch2/catch.hpp>

#include "runtime/decode/sampler.hpp"

using namespace troupe;

namespace {

void time_draws(const char* name, const std::vector<float>& row, sampling_params params) {
  constexpr int draws = 500;
  sampler draw(row.size());
  sampling_context context;
  std::vector<double> times_us;
  for (int i = 0; i < draws; ++i) {
    context.position = static_cast<std::uint64_t>(i);
    const auto begin = std::chrono::steady_clock::now();
    (void)draw.sample(row, params, context);
    const std::chrono::duration<double, std::micro> spent =
        std::chrono::steady_clock::now() - begin;
    times_us.push_back(spent.count());
  }
  std::sort(times_us.begin(), times_us.end());
  std::printf("%-28s %8.1f us median %8.1f us least\n", name, times_us[draws / 2], times_us[0]);
}

}  // namespace

TEST_CASE("time of a draw over 49k logits", "[.speed]") {
  std::mt19937 random(1);
  for (const float width : {2.5f, 0.3f}) {
    std::vector<float> row(49152);
    for (float& value : row) value = std::normal_distribution<float>(0, width)(random);
    std::printf("logits of standard deviation %.1f\n", static_cast<double>(width));
    sampling_params params;
    params.temperature = 0;
    time_draws("greedy", row, params);
    params.logprobs = 5;
    time_draws("greedy, logprobs 5", row, params);
    params.logprobs.reset();
    params.logit_bias = {{token_id{3}, 1.0f}};
    time_draws("greedy, one bias", row, params);
    params.logit_bias.clear();
    params.temperature = 1.0f;
    time_draws("temperature 1", row, params);
    params.temperature = 100.0f;
    time_draws("temperature 100", row, params);
    params.temperature = 0.8f;
    params.top_k = 50;
    time_draws("top_k 50", row, params);
    params.top_p = 0.95f;
    time_draws("top_k 50, top_p 0.95", row, params);
    params.top_k = 0;
    time_draws("top_p 0.95", row, params);
    params.min_p = 0.05f;
    time_draws("top_p 0.95, min_p 0.05", row, params);
  }
}
