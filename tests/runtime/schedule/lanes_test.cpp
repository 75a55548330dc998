// Proves what each lane is promised: reserves that are lent and taken back, steps that stay short
// beside a VIP, and turns among those that are left out. starvation_test.cpp: nobody is for ever.
#include "tests/runtime/schedule/driven_lanes.hpp"

using namespace troupe;
using namespace troupe::test;
using namespace std::chrono_literals;

TEST_CASE("a lane takes back what it is sure of, and no more", "[schedule][lanes]") {
  auto limits = small_limits();
  limits.max_num_seqs = 8;
  limits.lanes[to_index(lane::vip)].reserved_fraction = 0.25;
  limits.lanes[to_index(lane::realtime)].reserved_fraction = 0.5;
  using counts = std::array<std::uint32_t, lane_count>;

  driven_scheduler driven(limits);
  start(driven, 1, 8, {.max_tokens = 100, .service = lane::async});
  REQUIRE(running(driven) == counts{0, 0, 8});  // lent
  for (std::uint64_t id = 11; id <= 16; ++id) driven.submit(id, {.max_tokens = 100});
  driven.step();
  REQUIRE(running(driven) == counts{0, 4, 4});
  // Two VIPs take their own, a third one takes from async all the same.
  for (std::uint64_t id = 21; id <= 23; ++id)
    driven.submit(id, {.max_tokens = 100, .service = lane::vip});
  driven.step();
  REQUIRE(running(driven) == counts{3, 4, 1});
  for (std::uint64_t id = 24; id <= 26; ++id)
    driven.submit(id, {.max_tokens = 100, .service = lane::vip});
  driven.step();
  // Realtime keeps its half although six VIPs want in.
  REQUIRE(running(driven) == counts{4, 4, 0});
  driven.drain();
}

TEST_CASE("a VIP takes its reserve from realtime where async holds nothing", "[schedule][lanes]") {
  auto limits = small_limits();
  limits.max_num_seqs = 8;
  limits.lanes[to_index(lane::vip)].reserved_fraction = 0.25;
  driven_scheduler driven(limits);
  start(driven, 1, 8, {.max_tokens = 100});
  for (std::uint64_t id = 21; id <= 23; ++id)
    driven.submit(id, {.max_tokens = 100, .service = lane::vip});
  driven.step();
  REQUIRE(running(driven) == std::array<std::uint32_t, lane_count>{2, 6, 0});
  driven.drain();
}

TEST_CASE("beside a VIP realtime takes turns within a short step", "[schedule][lanes]") {
  driven_scheduler driven(timed_limits());
  start(driven, 1, 20, {.prompt = 4, .max_tokens = 100});
  start(driven, 50, 1, {.prompt = 4, .max_tokens = 100, .service = lane::vip});
  std::set<std::uint64_t> served;
  for (int i = 0; i < 3; ++i) {
    const auto planned = driven.step();
    const auto ids = set_of(planned.plan);
    REQUIRE(ids.size() == 10);
    REQUIRE(ids.contains(50));
    REQUIRE(driven.core.counts().held_sequences == 11);
    served.insert(ids.begin(), ids.end());
  }
  REQUIRE(served.size() == 21);  // 3 x 9 places for 20
  driven.drain();
}

TEST_CASE("beside a VIP async runs to its end in order", "[schedule][lanes]") {
  driven_scheduler driven(timed_limits());
  start(driven, 1, 20, {.prompt = 4, .max_tokens = 30, .service = lane::async});
  start(driven, 50, 1, {.prompt = 4, .max_tokens = 200, .service = lane::vip});
  const auto first = set_of(driven.step().plan);
  REQUIRE(first == std::set<std::uint64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 50});
  REQUIRE(set_of(driven.step().plan) == first);
  REQUIRE(driven.core.counts().preemptions == 0);
  driven.drain();
}

TEST_CASE("beside a VIP async's prompts do not stretch a step", "[schedule][lanes]") {
  driven_scheduler driven(timed_limits());
  start(driven, 1, 20, {.prompt = 4, .max_tokens = 60, .service = lane::async});
  start(driven, 50, 1, {.prompt = 4, .max_tokens = 200, .service = lane::vip});
  driven.submit(61, {.prompt = 40, .max_tokens = 2, .service = lane::async});
  for (int i = 0; i < 5; ++i) {
    const auto planned = driven.step();
    REQUIRE(planned.plan.token_count() == 10);
    REQUIRE(!set_of(planned.plan).contains(61));
  }
  driven.drain();  // it has its turn
}

TEST_CASE("without a VIP the most important lane decodes whole", "[schedule][lanes]") {
  auto limits = timed_limits();
  limits.step_ms_max = 12;
  driven_scheduler driven(limits);
  start(driven, 1, 8, {.prompt = 4, .max_tokens = 100, .service = lane::async});
  start(driven, 11, 16, {.prompt = 4, .max_tokens = 40});
  const auto ids = set_of(driven.step().plan);
  REQUIRE(ids.size() == 16);  // more than 12 ms: holding its own would help nobody
  REQUIRE(*ids.begin() == 11);
  driven.drain();
}

TEST_CASE("a VIP's prompt pauses async, which keeps its blocks", "[schedule][lanes]") {
  driven_scheduler driven(timed_limits());
  start(driven, 1, 2, {.prompt = 4, .max_tokens = 60, .service = lane::async});
  start(driven, 11, 1, {.prompt = 4, .max_tokens = 60});
  driven.submit(21, {.prompt = 24, .max_tokens = 8, .service = lane::vip});
  REQUIRE(set_of(driven.step().plan) == std::set<std::uint64_t>{21});
  REQUIRE(set_of(driven.step().plan) == std::set<std::uint64_t>{11, 21});  // its last 8 tokens
  REQUIRE(set_of(driven.step().plan) == std::set<std::uint64_t>{1, 2, 11, 21});
  REQUIRE(driven.core.counts().preemptions == 0);
  driven.drain();
}

TEST_CASE("a VIP never waits for another lane's tokens", "[schedule][lanes]") {
  auto limits = small_limits();
  limits.max_num_seqs = 8;
  limits.max_num_batched_tokens = 8;
  for (lane_rules& rules : limits.lanes) rules.reserved_fraction = 0.25;
  driven_scheduler driven(limits);
  start(driven, 1, 4, {.prompt = 4, .max_tokens = 60});
  start(driven, 11, 4, {.prompt = 4, .max_tokens = 60, .service = lane::async});
  REQUIRE(driven.step().plan.token_count() == 8);
  driven.submit(21, {.prompt = 20, .max_tokens = 6, .service = lane::vip});
  const auto rows_of_vip = [&] {
    const auto planned = driven.step();
    const step_slice& first = planned.plan.slices.at(0);
    REQUIRE(first.sequence.request == request_id{21});
    return first.tokens.size();
  };
  for (const std::size_t rows : {8u, 8u, 4u}) REQUIRE(rows_of_vip() == rows);
  for (int i = 0; i < 5; ++i) REQUIRE(rows_of_vip() == 1);
  driven.drain();
}

TEST_CASE("VIPs beyond their reserve leave realtime its part of a step", "[schedule][lanes]") {
  auto limits = timed_limits();
  limits.lanes[to_index(lane::vip)].reserved_fraction = 0.25;
  limits.lanes[to_index(lane::realtime)].reserved_fraction = 0.25;
  const auto realtime_rows = [&](std::uint64_t vips) {
    driven_scheduler driven(limits);
    start(driven, 1, 8, {.prompt = 4, .max_tokens = 200});
    start(driven, 51, vips, {.prompt = 4, .max_tokens = 200, .service = lane::vip});
    const auto ids = ids_of(driven.step().plan);
    const auto count = std::ranges::count_if(ids, [](std::uint64_t id) { return id < 50; });
    driven.drain();
    return count;
  };
  REQUIRE(realtime_rows(8) == 2);  // within theirs: what is left of 10 ms
  const auto beyond = realtime_rows(18);
  REQUIRE(beyond >= 5);  // a quarter of the step, though 18 VIPs fill nearly twice its time
  REQUIRE(beyond <= 6);
}

TEST_CASE("a VIP's prompt beyond the reserve leaves realtime its tokens", "[schedule][lanes]") {
  auto limits = small_limits();
  limits.max_num_seqs = 16;
  limits.max_num_batched_tokens = 16;
  limits.lanes[to_index(lane::realtime)].reserved_fraction = 0.25;
  for (const double vip_fraction : {0.0, 0.5}) {
    limits.lanes[to_index(lane::vip)].reserved_fraction = vip_fraction;
    driven_scheduler driven(limits);
    start(driven, 1, 6, {.prompt = 4, .max_tokens = 100});
    start(driven, 51, 2, {.prompt = 4, .max_tokens = 100, .service = lane::vip});
    driven.submit(61, {.prompt = 100, .max_tokens = 2, .service = lane::vip});
    const auto planned = driven.step();
    REQUIRE(planned.plan.slices.at(2).sequence.request == request_id{61});
    REQUIRE(planned.plan.slices.at(2).tokens.size() == (vip_fraction == 0.0 ? 10 : 14));
    REQUIRE(planned.plan.slices.size() == (vip_fraction == 0.0 ? 7 : 3));
    driven.drain();
  }
}

TEST_CASE("a flood of VIPs leaves realtime what it is sure of", "[schedule][lanes]") {
  auto limits = small_limits();
  limits.max_num_seqs = 8;
  limits.lanes[to_index(lane::vip)].reserved_fraction = 0.25;
  limits.lanes[to_index(lane::realtime)].reserved_fraction = 0.25;
  driven_scheduler driven(limits);
  std::uint64_t id = 100;
  const auto flood = [&] {
    while (driven.core.counts().waiting[to_index(lane::vip)] < 8)
      driven.submit(id++, {.prompt = 6, .max_tokens = 6, .service = lane::vip});
  };
  flood();
  for (int i = 0; i < 10; ++i) driven.step(), flood();
  REQUIRE(running(driven)[to_index(lane::vip)] == 8);  // lent while nothing else waits
  for (std::uint64_t each = 1; each <= 12; ++each) driven.submit(each, {.max_tokens = 6});
  for (int i = 0; i < 16; ++i) driven.step(), flood();
  for (int i = 0; i < 16; ++i) {
    const auto planned = driven.plan();
    REQUIRE(running(driven) == std::array<std::uint32_t, lane_count>{6, 2, 0});
    driven.finish(planned.plan);
    flood();
  }
  REQUIRE(driven.truth.at(request_id{4}).is_done());
  driven.drain();
}

TEST_CASE("a VIP too large to leave realtime its blocks is not starved", "[schedule][lanes]") {
  auto limits = small_limits();
  limits.block_count = 40;
  limits.lanes[to_index(lane::realtime)].reserved_fraction = 0.25;
  driven_scheduler driven(limits);
  std::uint64_t id = 100;
  const auto keep_busy = [&] {
    while (driven.core.counts().waiting[to_index(lane::realtime)] < 4)
      driven.submit(id++, {.prompt = 6, .max_tokens = 12});
  };
  for (int i = 0; i < 10; ++i) driven.step(), keep_busy();
  driven.submit(1, {.prompt = 130, .max_tokens = 10, .service = lane::vip});  // of 160 positions
  for (int i = 0; !driven.truth.at(request_id{1}).is_done(); ++i) {
    REQUIRE(i < 100);
    driven.step();
    keep_busy();
  }
  driven.drain();
}

TEST_CASE("steps stay short for a while after the last VIP", "[schedule][lanes]") {
  driven_scheduler driven(timed_limits());
  start(driven, 50, 1, {.prompt = 4, .max_tokens = 2, .service = lane::vip});
  driven.drain();
  driven.submit(1, {.prompt = 200});
  driven.submit(2, {.prompt = 200});
  driven.now += 4'000ms;
  REQUIRE(driven.step().plan.token_count() <= 16);
  driven.now += 6'000ms;
  REQUIRE(driven.step().plan.token_count() >= 90);
  driven.drain();
}

TEST_CASE("what is due in the same window goes by cost", "[schedule][lanes]") {
  auto limits = small_limits();
  limits.lanes[to_index(lane::realtime)].cost_window = 100ms;
  driven_scheduler driven(limits);
  const auto add = [&](std::uint64_t id, std::size_t length, monotonic_time arrival,
                       std::optional<monotonic_time> deadline = {}) {
    auto request = driven.make(id, {.prompt = length});
    request.arrival = arrival;
    request.deadline = deadline;
    driven.submit(std::move(request));
  };
  driven.now = 2'000ms;
  add(1, 12, 1'010ms);
  add(2, 4, 1'090ms);
  add(3, 8, 1'050ms);
  add(4, 4, 1'110ms);            // due in the next window
  add(5, 12, 1'180ms, 1'050ms);  // due before all
  REQUIRE(ids_of(driven.step().started) == id_list{5, 2, 3, 1, 4});
  driven.drain();
}

TEST_CASE("with few sequences a share is one of them", "[schedule][lanes]") {
  const std::uint32_t seats = GENERATE(1u, 2u, 3u, 5u);
  auto limits = shared_limits();
  limits.max_num_seqs = seats;
  driven_scheduler driven(limits);
  start(driven, 1, seats, {.max_tokens = 100});
  driven.submit(50, {.max_tokens = 4, .service = lane::vip});
  REQUIRE(steps_until_started(driven, 50, [] {}) == 1);
  driven.drain();
}
