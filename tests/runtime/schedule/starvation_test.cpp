// Proves that nobody is left out for ever: not held decodes, not async beside VIPs that fill every
// step or realtime that fills every seat, not what waits behind others that are due, and that who
// has waited for long takes no more than a turn.
#include <map>
#include <ranges>

#include "tests/runtime/schedule/driven_lanes.hpp"

using namespace troupe;
using namespace troupe::test;
using namespace std::chrono_literals;

TEST_CASE("nobody is held for ever", "[schedule][lanes]") {
  auto limits = timed_limits();
  driven_scheduler driven(limits);
  start(driven, 1, 3, {.prompt = 4, .max_tokens = 60, .service = lane::async});
  start(driven, 51, 12, {.prompt = 4, .max_tokens = 200, .service = lane::vip});
  REQUIRE(!set_of(driven.step().plan).contains(1));  // 12 VIPs fill more than the step
  driven.now += 1'500ms;
  REQUIRE(set_of(driven.step().plan).size() == 15);
  REQUIRE(set_of(driven.step().plan).size() == 12);
  driven.drain();
}

TEST_CASE("VIPs whose prompts fill every step leave async a turn a second", "[schedule][lanes]") {
  auto limits = timed_limits();
  limits.vip_step_ms_max = 25;
  limits.lanes[to_index(lane::async)].reserved_fraction = 0.02;
  driven_scheduler driven(limits);
  std::uint64_t id = 100;
  const auto flooded_step = [&] {
    while (driven.core.counts().waiting[to_index(lane::vip)] < 8)
      driven.submit(id++, {.prompt = 100, .max_tokens = 2, .service = lane::vip});
    driven.now += 25ms;
    return driven.step().plan;
  };
  for (int i = 0; i < 10; ++i) flooded_step();
  // One larger than what async is sure of (20 blocks), and one that waits for it.
  driven.submit(1, {.prompt = 120, .max_tokens = 4, .service = lane::async});
  driven.submit(2, {.prompt = 20, .max_tokens = 4, .service = lane::async});
  const monotonic_time submitted = driven.now;
  int async_steps = 0;
  while (!driven.truth.at(request_id{2}).is_done()) {
    REQUIRE(driven.now - submitted < 30s);
    const auto ids = set_of(flooded_step());
    async_steps += ids.contains(1) || ids.contains(2) ? 1 : 0;
  }
  REQUIRE(driven.truth.at(request_id{1}).is_done());
  // One of prompts and one of tokens.
  REQUIRE(async_steps <= 2 * ((driven.now - submitted) / 1s + 1));
  driven.drain();
}

TEST_CASE("async that has waited for long takes some of realtime's turns", "[schedule][lanes]") {
  auto limits = small_limits();
  limits.max_num_seqs = 4;
  driven_scheduler driven(limits);
  std::uint64_t id = 100;
  const auto keep_busy = [&] {
    while (driven.core.counts().waiting[to_index(lane::realtime)] < 8)
      driven.submit(id++, {.prompt = 6, .max_tokens = 4});
  };
  keep_busy();
  driven.step();
  driven.submit(1, {.prompt = 6, .max_tokens = 4, .service = lane::async});
  for (int i = 0; i < 40; ++i) {
    driven.step();
    keep_busy();
  }
  REQUIRE(!driven.truth.at(request_id{1}).started);
  driven.now += 11'000ms;
  for (int i = 0; !driven.truth.at(request_id{1}).is_done(); ++i) {
    REQUIRE(i < 40);
    driven.step();
    keep_busy();
  }
  driven.drain();
}

TEST_CASE("an async request that waits for its turn leaves realtime what it is sure of",
          "[schedule][lanes]") {
  driven_scheduler driven(shared_limits());
  start(driven, 100, 8, {.max_tokens = 900, .service = lane::async});
  for (std::uint64_t id = 200; id < 204; ++id)
    driven.submit(id, {.max_tokens = 900, .service = lane::async});
  driven.now += 11s;
  for (std::uint64_t id = 1; id <= 30; ++id) {
    driven.submit(id, {.max_tokens = 2});
    REQUIRE(steps_until_started(driven, id, [] {}) <= 2);
    for (int i = 0; i < 4; ++i) driven.step();
  }
}

TEST_CASE("more VIPs than there is room for leave realtime what it is sure of, whoever has aged",
          "[schedule][lanes]") {
  driven_scheduler driven(shared_limits());
  for (std::uint64_t id = 1; id <= 9; ++id) {
    driven.submit(id, {.max_tokens = 2});
    while (driven.core.has_work()) driven.step();
  }
  driven.submit(200, {.max_tokens = 2, .service = lane::async});
  std::uint64_t next = 1'000;
  const auto flood = [&] {
    while (driven.core.counts().waiting[to_index(lane::vip)] < 8)
      driven.submit(next++, {.max_tokens = 30, .service = lane::vip});
  };
  REQUIRE(steps_until_started(driven, 1'000, flood) == 1);
  driven.now += 11s;
  driven.submit(300, {.max_tokens = 4});
  REQUIRE(steps_until_started(driven, 300, flood) < 40);
}

TEST_CASE("a plan that holds async requests back holds nobody else", "[schedule][lanes]") {
  auto limits = shared_limits();
  limits.lanes[to_index(lane::async)].hold_max = 60s;
  driven_scheduler driven(limits);
  start(driven, 100, 1, {.max_tokens = 240, .service = lane::async});
  for (std::uint64_t id = 1; id <= 9; ++id) {
    driven.submit(id, {.max_tokens = 2});
    for (int i = 0; i < 4; ++i) driven.step();
  }
  async_plan plan;
  plan.running_max = 1;
  for (std::uint64_t id = 200; id < 204; ++id) {
    driven.submit(id, {.max_tokens = 2, .service = lane::async});
    plan.order.push_back(request_id{id});
  }
  driven.core.apply(plan, driven.now);
  driven.now += 11s;
  driven.submit(300, {.max_tokens = 4});
  REQUIRE(steps_until_started(driven, 300, [] {}) == 1);
}

TEST_CASE("a preempted async request comes back without taking turn after turn",
          "[schedule][lanes]") {
  auto limits = shared_limits();
  limits.max_num_seqs = 4;
  limits.max_model_len = 4'096;
  limits.lanes[to_index(lane::realtime)].reserved_fraction = 0.5;
  driven_scheduler driven(limits);
  start(driven, 1, 4, {.max_tokens = 3'000, .service = lane::async});
  driven.now += 11s;
  for (std::uint64_t id = 1'000; id < 1'200; ++id) {
    driven.submit(id, {.max_tokens = 3});
    REQUIRE(steps_until_started(driven, id, [] {}) <= 8);
  }
}

TEST_CASE("the sequences of one request take turns, too, and none stands still",
          "[schedule][lanes]") {
  const lane service = GENERATE(lane::realtime, lane::async);
  auto limits = timed_limits();
  limits.vip_step_ms_max = 6;
  driven_scheduler driven(limits);
  start(driven, 1, 1, {.prompt = 4, .max_tokens = 200, .service = service, .n = 12});
  start(driven, 2, 3, {.prompt = 4, .max_tokens = 200, .service = service});
  start(driven, 50, 1, {.prompt = 4, .max_tokens = 250, .service = lane::vip});
  std::map<sequence_id, int> tokens;
  for (int i = 0; i < 150; ++i) {  // 15 s
    driven.now += 100ms;
    for (const auto& slice : driven.step().plan.slices) ++tokens[slice.sequence];
  }
  REQUIRE(tokens.size() == 16);
  tokens.erase({request_id{50}, 0});
  const auto [least, most] = std::ranges::minmax(std::views::values(tokens) | std::views::common);
  CAPTURE(service, least, most);
  CHECK(least >= 8);
  if (service == lane::realtime) CHECK(most - least <= 2);
}

TEST_CASE("a VIP's long prompt does not stand in the way of a short one", "[schedule][lanes]") {
  auto limits = timed_limits();
  limits.max_model_len = 4'096;
  limits.block_count = 4'096;
  limits.max_num_queued_reqs = 2'000;
  limits.lanes[to_index(lane::vip)].reserved_fraction = 0.5;
  limits.lanes[to_index(lane::vip)].first_token = {.ms = 200, .prompt_tokens = 512};
  driven_scheduler driven(limits);
  for (std::uint64_t id = 1; id <= 2; ++id)
    driven.submit(id, {.prompt = 2'000, .max_tokens = 4, .service = lane::vip});
  driven.step();
  driven.submit(3, {.prompt = 4, .max_tokens = 4, .service = lane::vip});
  REQUIRE(ids_of(driven.step().started) == id_list{3});
  // What is due first goes first: the long one is not put off for ever.
  std::uint64_t next = 10;
  const auto stream = [&] {
    driven.submit(next++, {.prompt = 8, .max_tokens = 1, .service = lane::vip});
  };
  REQUIRE(steps_until_started(driven, 2, stream) < 1'500);
  driven.drain();
}

TEST_CASE("what comes later with a due time does not go before others for ever",
          "[schedule][lanes]") {
  auto limits = shared_limits();
  limits.max_num_seqs = 1;
  driven_scheduler driven(limits);
  driven.submit(1, {.max_tokens = 2, .service = lane::async});
  driven.step();
  driven.submit(2, {.max_tokens = 2, .service = lane::async});
  std::uint64_t next = 10;
  const monotonic_time due_in = GENERATE(1s, 3'600s);
  const auto stream = [&] {
    while (driven.core.counts().waiting[to_index(lane::async)] < 4) {
      auto request = driven.make(next++, {.max_tokens = 2, .service = lane::async});
      request.due = request.arrival + due_in;
      driven.submit(std::move(request));
    }
  };
  // A minute in steps of 50 ms, if they are due sooner than in a minute.
  REQUIRE(steps_until_started(driven, 2, stream) <= (due_in == 1s ? 1'210 : 5));
}
