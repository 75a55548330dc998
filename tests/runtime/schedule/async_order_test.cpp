// Proves when a composer is asked, what it is told, and that its plan is followed: the order, who
// is preempted, the bound on what runs, how long that may hold requests back, and that nobody is
// overtaken for ever.
#include <algorithm>
#include <chrono>

#include "config/limits.hpp"
#include "tests/runtime/schedule/driven_scheduler.hpp"

using namespace troupe;
using namespace troupe::test;
using namespace std::chrono_literals;
using id_list = std::vector<std::uint64_t>;

namespace {

scheduler_limits crowded_limits() {
  auto limits = small_limits();
  limits.max_num_seqs = 4;
  limits.max_num_queued_reqs = 2'000;
  limits.block_count = 1'024;
  limits.lanes[to_index(lane::async)].hold_max = 100ms;
  return limits;
}

async_plan plan_of(const id_list& order, std::uint32_t running_max) {
  async_plan plan;
  for (const std::uint64_t id : order) plan.order.push_back(static_cast<request_id>(id));
  plan.running_max = running_max;
  return plan;
}

/// Ids in the order in which they were started, until so many were.
id_list started_until(driven_scheduler& driven, std::size_t count) {
  id_list started;
  while (started.size() < count) {
    const auto ids = ids_of(driven.step().started);
    started.insert(started.end(), ids.begin(), ids.end());
  }
  return started;
}

/// Ids in the order in which they were started, until none waits.
id_list started_in_order(driven_scheduler& driven) {
  id_list started;
  while (driven.core.counts().waiting[to_index(lane::async)] != 0) {
    const auto ids = ids_of(driven.step().started);
    started.insert(started.end(), ids.begin(), ids.end());
  }
  return started;
}

}  // namespace

TEST_CASE("a composer is asked when more waits than twice what can run", "[schedule][async]") {
  driven_scheduler driven(crowded_limits());
  for (std::uint64_t id = 1; id <= 12; ++id)
    driven.submit(id, {.prompt = 9, .max_tokens = 20, .service = lane::async});
  REQUIRE(!driven.core.async_view(driven.now));  // nothing runs yet: nobody is held
  driven.step();
  REQUIRE(!driven.core.async_view(driven.now));  // 8 wait
  auto late = driven.make(20, {.prompt = 30, .max_tokens = 7, .service = lane::async, .n = 2});
  late.deadline = driven.now + 50ms;
  late.priority = 3;
  driven.submit(std::move(late));
  driven.submit(30, {.prompt = 10, .max_tokens = 20, .service = lane::realtime});
  const auto view = driven.core.async_view(driven.now).value();
  REQUIRE(view.waiting.size() == 9);
  REQUIRE(view.running.size() == 4);
  const async_waiting& last = view.waiting.back();
  REQUIRE(last.id == request_id{20});
  REQUIRE(last.prompt->size() == 30);
  REQUIRE((last.max_tokens == 7 && last.n == 2 && last.priority == 3));
  REQUIRE(*last.due_in_ms == Approx(50.0).margin(0.01));
  REQUIRE(view.running[0].output_tokens == 1);
  REQUIRE(view.running[0].missing_tokens == 0);
  REQUIRE(view.limits.sequences_max == 4);
  REQUIRE(view.limits.block_count == 1'024);
  driven.drain();
}

TEST_CASE("what waits is admitted in the plan's order, what comes later behind it",
          "[schedule][async]") {
  driven_scheduler driven(crowded_limits());
  for (std::uint64_t id = 1; id <= 10; ++id)
    driven.submit(id, {.max_tokens = 6, .service = lane::async});
  driven.step();
  driven.submit(11, {.max_tokens = 6, .service = lane::async});
  // One that runs and one that nobody knows are passed over.
  driven.core.apply(plan_of({9, 1, 7, 77, 5, 6, 8, 10}, 4), driven.now);
  driven.submit(12, {.max_tokens = 6, .service = lane::async});
  REQUIRE(started_in_order(driven) == id_list{9, 7, 5, 6, 8, 10, 11, 12});
  driven.drain();
}

TEST_CASE("what the plan put last is preempted first and comes back in its turn",
          "[schedule][async]") {
  auto limits = crowded_limits();
  limits.block_count = 20;
  limits.enable_prefix_caching = false;
  driven_scheduler driven(limits);
  driven.submit(1, {.prompt = 4, .max_tokens = 1, .service = lane::async});
  for (std::uint64_t id = 2; id <= 13; ++id)
    driven.submit(id, {.prompt = 8, .max_tokens = 24, .service = lane::async});
  auto urgent = driven.make(14, {.prompt = 8, .max_tokens = 24, .service = lane::async});
  urgent.priority = -1;
  driven.core.apply(plan_of({1, 5, 3, 4, 2, 6, 7, 8, 9, 10, 11, 12, 13}, 4), driven.now);
  REQUIRE(started_until(driven, 4) == id_list{1, 5, 3, 4});
  driven.submit(std::move(urgent));
  REQUIRE(started_until(driven, 1) == id_list{14});
  while (driven.core.counts().preemptions < 2) driven.step();
  const auto view = driven.core.async_view(driven.now).value();
  REQUIRE(view.waiting[0].preempted);
  REQUIRE(view.waiting[0].id == request_id{3});
  REQUIRE(view.waiting[1].preempted);
  REQUIRE(view.waiting[1].id == request_id{4});
  REQUIRE(!view.waiting[2].preempted);
  REQUIRE(view.waiting[0].output_tokens != 0);
  REQUIRE(view.waiting[0].uses_all);
  REQUIRE(view.running[0].priority == -1);  // admitted last
  // A plan that says otherwise does not change who comes back first.
  driven.core.apply(plan_of({13, 4, 12, 3, 11}, 4), driven.now);
  for (bool is_back = false; !is_back;) {
    const auto planned = driven.step();
    const auto ids = ids_of(planned.plan);
    is_back = std::ranges::count(ids, 3) != 0;
    REQUIRE((is_back || (planned.started.empty() && std::ranges::count(ids, 4) == 0)));
  }
  driven.drain();
}

TEST_CASE("a plan may keep requests waiting for a while, not longer", "[schedule][async]") {
  driven_scheduler driven(crowded_limits());
  for (std::uint64_t id = 1; id <= 12; ++id)
    driven.submit(id, {.max_tokens = 40, .service = lane::async});
  driven.step();
  driven.cancel(request_id{1});
  driven.core.apply(plan_of({12, 11, 10, 9, 8, 7, 6, 5}, 2), driven.now);
  REQUIRE(driven.step().started.empty());
  driven.submit(30, {.max_tokens = 4, .service = lane::realtime});
  REQUIRE(ids_of(driven.step().started) == id_list{30});  // the seat is not lost for others
  driven.now += 200ms;
  while (driven.core.has(request_id{30})) driven.step();
  driven.step();
  REQUIRE(driven.core.counts().running[to_index(lane::async)] == 4);
  driven.drain();
}

TEST_CASE("who has waited for as long as a plan may hold goes before those that it holds",
          "[schedule][async]") {
  driven_scheduler driven(crowded_limits());
  for (std::uint64_t id = 1; id <= 6; ++id)
    driven.submit(id, {.max_tokens = 40, .service = lane::async});
  driven.step();
  driven.cancel(request_id{1});
  driven.now += 80ms;
  driven.submit(7, {.max_tokens = 40, .service = lane::async});
  driven.core.apply(plan_of({7, 6, 5}, 2), driven.now);
  REQUIRE(driven.step().started.empty());
  driven.now += 30ms;
  REQUIRE(ids_of(driven.step().started) == id_list{5});
  driven.drain();
}

TEST_CASE("a request that plans put last again and again goes first in the end",
          "[schedule][async]") {
  driven_scheduler driven(crowded_limits());
  std::uint64_t id = 1;
  for (; id <= 9; ++id) driven.submit(id, {.prompt = 2, .max_tokens = 1, .service = lane::async});
  const std::uint64_t unloved = 9;
  std::uint32_t overtaken = 0;
  while (!driven.truth.at(static_cast<request_id>(unloved)).started) {
    REQUIRE(overtaken <= limits::passed_over_max + 16);
    while (driven.core.counts().waiting[to_index(lane::async)] < 9)
      driven.submit(id++, {.prompt = 2, .max_tokens = 1, .service = lane::async});
    id_list order;
    for (std::uint64_t each = id - 1; each != 0; --each) {
      if (each != unloved) order.push_back(each);
    }
    order.push_back(unloved);
    driven.core.apply(plan_of(order, 4), driven.now);
    const auto planned = driven.step();
    for (const std::uint64_t each : ids_of(planned.started)) {
      overtaken += each > unloved ? 1u : 0u;
      if (each == unloved) driven.truth.at(static_cast<request_id>(unloved)).started = true;
    }
  }
  REQUIRE(overtaken >= limits::passed_over_max - 16);
  driven.drain();
}
