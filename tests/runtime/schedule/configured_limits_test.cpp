// The configuration reaches the scheduler: every key that is about scheduling, under its limit.
#include "runtime/schedule/configured_limits.hpp"

#include <catch2/catch.hpp>

using namespace troupe;
using namespace std::chrono_literals;

TEST_CASE("keys of scheduling become limits", "[schedule]") {
  server_config config;
  config.max_model_len = 3000;
  config.max_num_seqs = 7;
  config.max_num_batched_tokens = 900;
  config.max_batch_size = 3;
  config.max_num_batches = 5;
  config.batch_size = 6;
  config.block_size = 8;
  config.step_ms_max = 70;
  config.vip_step_ms_max = 20;
  config.enable_prefix_caching = config.enable_chunked_prefill = false;
  config.lanes[vip_lane].reserved_fraction = 0.5;
  config.lanes[realtime_lane].max_wait_ms = 40;
  config.lanes[async_lane].max_delay_ms = 2500;
  const scheduler_limits made = configured_limits(config);
  CHECK(made.max_model_len == 3000);
  CHECK(made.max_num_seqs == 7);
  CHECK(made.max_num_batched_tokens == 900);
  CHECK(made.max_batch_size == 3);
  CHECK(made.composed_requests_max == 30);
  CHECK(made.block_tokens == 8);
  CHECK(made.step_ms_max == 70);
  CHECK(made.vip_step_ms_max == 20);
  CHECK_FALSE(made.enable_prefix_caching);
  CHECK_FALSE(made.enable_chunked_prefill);
  CHECK(made.lanes[vip_lane].reserved_fraction == 0.5);
  CHECK(made.lanes[realtime_lane].cost_window == 40ms);
  CHECK(made.lanes[async_lane].hold_max == 2500ms);
}

TEST_CASE("a composer is never told of more requests than it orders", "[schedule]") {
  server_config config;
  config.max_num_batches = config.batch_size = 1000;
  CHECK(configured_limits(config).composed_requests_max == limits::composed_requests_max);
}

TEST_CASE("steps beside a VIP follow its target unless they are configured", "[schedule]") {
  server_config config;
  config.step_ms_max = 100;
  config.lanes[vip_lane].tpot_ms = 40;
  CHECK(configured_limits(config).vip_step_ms_max == 25);
  CHECK(configured_limits(config).vip_token_ms == 40);
  config.lanes[vip_lane].tpot_ms = 1000;
  CHECK(configured_limits(config).vip_step_ms_max == 100);
  config.lanes[vip_lane].tpot_ms = 1;
  CHECK(configured_limits(config).vip_step_ms_max == 1);
  config.lanes[vip_lane].tpot_ms = 0;
  CHECK(configured_limits(config).vip_step_ms_max == 100);
  config.lanes[vip_lane].tpot_ms = 40;
  config.vip_step_ms_max = 30;
  CHECK(configured_limits(config).vip_step_ms_max == 30);
  CHECK(configured_limits(config).vip_token_ms == 0);
}
