// Proves that the cost of moving blocks is learned from steps, outliers and all, and forgotten when
// none are moved; and that each choice between moving and computing falls where the predictions
// cross. All seeds are printed.
#include "runtime/schedule/transfer_cost.hpp"

#include <limits>
#include <random>

#include <catch2/catch.hpp>

using namespace troupe;

namespace {

constexpr std::uint32_t block_tokens = 16;

/// A machine on which a prompt's token costs 1 ms, and each key that it reads 0.001 ms.
cost_model token_costs() {
  constexpr double nothing = 1e-9;
  return cost_model({.step_ms = 5.0,
                     .row_tile_ms = nothing,
                     .row_ms = 1.0,
                     .logit_row_ms = nothing,
                     .decode_pair_us = nothing,
                     .prefill_pair_us = 1.0});
}

}  // namespace

TEST_CASE("what a block's tokens add to a step has no share of the step itself", "[schedule]") {
  const cost_model cost({.step_ms = 5.0,
                         .row_tile_ms = 2.0,
                         .row_ms = 1.0,
                         .logit_row_ms = 1.0,
                         .decode_pair_us = 1.0,
                         .prefill_pair_us = 1.0});
  CHECK(cost.added_prefill_ms(16, 0) == Approx(2.0 + 16.0 + 0.136));
  CHECK(cost.added_prefill_ms(4, 0) == Approx(0.5 + 4.0 + 0.010));
  CHECK(cost.added_prefill_ms(1, 99) == Approx(0.125 + 1.0 + 0.100));
}

TEST_CASE("the cost of a block is learned within a few steps", "[schedule]") {
  const unsigned seed = GENERATE(1u, 2u, 3u);
  INFO("seed " << seed);
  std::mt19937 random(seed);
  std::lognormal_distribution<double> noise(0.0, 0.1);
  const double offload_ms = GENERATE(0.01, 1.0, 40.0), upload_ms = 0.3 * offload_ms;
  transfer_cost transfers({.offload_block_ms = 0.4, .upload_block_ms = 0.2});
  for (int step = 0; step < 60; ++step) {
    const std::uint32_t out = random() % 8, back = random() % 8;
    const double outlier = random() % 16 == 0 ? 10.0 : 1.0;
    transfers.observe({out, out * offload_ms * noise(random) * outlier},
                      {back, back * upload_ms * noise(random)});
  }
  CHECK(transfers.profile().offload_block_ms == Approx(offload_ms).epsilon(0.6));
  CHECK(transfers.profile().upload_block_ms == Approx(upload_ms).epsilon(0.3));
}

TEST_CASE("what is not measured any more goes back to the profile", "[schedule]") {
  transfer_cost transfers({.offload_block_ms = 0.4, .upload_block_ms = 0.2});
  for (int step = 0; step < 40; ++step) transfers.observe({8, 400.0}, {});
  CHECK(transfers.profile().offload_block_ms > 30.0);
  CHECK(transfers.profile().upload_block_ms == Approx(0.2));
  for (int step = 0; step < 2'000; ++step) transfers.observe({}, {});
  CHECK(transfers.profile().offload_block_ms == Approx(0.4).epsilon(0.01));
}

TEST_CASE("durations that say nothing are ignored", "[schedule]") {
  transfer_cost transfers({.offload_block_ms = 0.4, .upload_block_ms = 0.2});
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double ms : {0.0, -1.0, infinity, std::numeric_limits<double>::quiet_NaN()})
    transfers.observe({4, ms}, {4, ms});
  CHECK(transfers.profile().offload_block_ms == Approx(0.4));
  CHECK(transfers.profile().upload_block_ms == Approx(0.2));
}

TEST_CASE("a profile goes by bytes", "[schedule]") {
  const auto small = transfer_profile_of(1'000), large = transfer_profile_of(1'000'000);
  CHECK(large.offload_block_ms == Approx(1'000 * small.offload_block_ms));
  CHECK(large.upload_block_ms == Approx(1'000 * small.upload_block_ms));
}

TEST_CASE("a block is offloaded where out and back cost less than its tokens", "[schedule]") {
  const cost_model cost = token_costs();
  // The first block: 16 rows and 136 pairs; the one at 1600: 25,600 pairs more.
  CHECK(is_worth_offloading(cost, {.offload_block_ms = 12.0, .upload_block_ms = 4.0}, block_tokens,
                            0));
  CHECK(!is_worth_offloading(cost, {.offload_block_ms = 12.0, .upload_block_ms = 4.2}, block_tokens,
                             0));
  CHECK(is_worth_offloading(cost, {.offload_block_ms = 12.0, .upload_block_ms = 29.7}, block_tokens,
                            100));
  CHECK(!is_worth_offloading(cost, {.offload_block_ms = 12.0, .upload_block_ms = 29.8},
                             block_tokens, 100));
}

TEST_CASE("offers are uploaded where that costs less than their tokens", "[schedule]") {
  const cost_model cost = token_costs();
  const auto worth = [&](double upload_ms, std::uint32_t first, std::uint32_t count) {
    return blocks_worth_uploading(cost, {.offload_block_ms = 1e6, .upload_block_ms = upload_ms},
                                  block_tokens, first, count);
  };
  CHECK(worth(0.01, 0, 0) == 0);
  CHECK(worth(16.1, 0, 1) == 1);
  CHECK(worth(16.2, 0, 1) == 0);
  CHECK(worth(16.2, 0, 20) == 20);  // the later ones make up for the first
  CHECK(worth(16.2, 1, 1) == 1);
}

TEST_CASE("all offers or none is never worse than a part of them", "[schedule]") {
  const cost_model cost = token_costs();
  std::mt19937 random(11);
  for (int i = 0; i < 1'000; ++i) {
    const std::uint32_t first = random() % 50, count = 1 + random() % 50;
    const transfer_profile predicted{.offload_block_ms = 1.0,
                                     .upload_block_ms = 10.0 + 0.02 * (random() % 1'000)};
    const auto saved_ms = [&](std::uint32_t taken) {
      return cost.added_prefill_ms(taken * block_tokens, first * block_tokens) -
             taken * predicted.upload_block_ms;
    };
    const double chosen =
        saved_ms(blocks_worth_uploading(cost, predicted, block_tokens, first, count));
    for (std::uint32_t taken = 0; taken <= count; ++taken)
      REQUIRE(chosen >= saved_ms(taken) - 1e-9);
  }
}
