// Proves what each lane is promised: reserves that are lent and taken back, steps that stay short
// beside a VIP, turns among those that are left out, and that nobody is left out for ever.
// Durations come from a made-up profile: a row costs nearly 1 ms, everything else next to nothing.
#include <algorithm>
#include <map>
#include <ranges>
#include <set>

#include "tests/runtime/schedule/driven_scheduler.hpp"

using namespace troupe;
using namespace troupe::test;
using namespace std::chrono_literals;
using id_list = std::vector<std::uint64_t>;

namespace {

scheduler_limits timed_limits() {
  auto limits = small_limits();
  limits.max_num_seqs = 32;
  limits.block_count = 1024;
  limits.max_batch_size = 32;
  limits.max_num_batched_tokens = 1024;
  limits.step_ms_max = 100;
  limits.vip_step_ms_max = 10;
  limits.initial_cost = row_costs(0.99);
  return limits;
}

/// Requests first .. first + count - 1, run until all of them decode.
void start(driven_scheduler& driven, std::uint64_t first, std::uint64_t count,
           request_shape shape) {
  for (std::uint64_t id = first; id < first + count; ++id) driven.submit(id, shape);
  while (driven.core.counts().waiting[to_index(shape.service)] != 0) driven.step();
  driven.step();
}

std::set<std::uint64_t> set_of(const step_plan& plan) {
  const auto ids = ids_of(plan);
  return {ids.begin(), ids.end()};
}

std::array<std::uint32_t, lane_count> running(const driven_scheduler& driven) {
  return driven.core.counts().running;
}

}  // namespace

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

namespace {

/// Steps of 50 ms until the request is admitted, at most 1,500; `each` goes before every step.
template <class Each>
int steps_until_started(driven_scheduler& driven, std::uint64_t id, Each&& each) {
  for (int steps = 1; steps < 1'500; ++steps) {
    each();
    driven.now += 50ms;
    const auto started = ids_of(driven.step().started);
    if (std::ranges::count(started, id) != 0) return steps;
  }
  return 1'500;
}

scheduler_limits shared_limits() {
  auto limits = small_limits();
  limits.max_num_seqs = 8;
  limits.max_num_queued_reqs = 2'000;
  limits.block_count = 2'048;
  limits.max_model_len = 1'024;
  limits.lanes[to_index(lane::vip)].reserved_fraction = 0.25;
  limits.lanes[to_index(lane::realtime)].reserved_fraction = 0.25;
  return limits;
}

}  // namespace

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
