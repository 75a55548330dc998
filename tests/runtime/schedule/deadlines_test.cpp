// Proves that a deadline which cannot be met is refused at once with the estimate, that one which
// can be met is taken and met, and that the estimate follows the load and the lengths of outputs.
#include <chrono>

#include "tests/runtime/schedule/driven_scheduler.hpp"

using namespace troupe;
using namespace troupe::test;
using namespace std::chrono_literals;

namespace {

/// A machine whose steps take 1 ms and 1 ms a row, which its prior says, too.
scheduler_limits timed_limits() {
  auto limits = small_limits();
  limits.max_num_seqs = 4;
  limits.initial_cost = row_costs(1.0, 1.0);
  return limits;
}

void step(driven_scheduler& driven) {
  auto planned = driven.plan();
  auto result = driven.engine.run(planned.plan, driven.truth);
  result.compute_ms = 1.0 + planned.plan.token_count();
  driven.now += std::chrono::microseconds(static_cast<std::int64_t>(result.compute_ms * 1e3));
  const auto outcome = driven.core.complete(result, driven.now);
  driven.core.check_integrity();
  receive(outcome, driven.truth);
}

schedule_request due_in(driven_scheduler& driven, std::uint64_t id, request_shape shape,
                        monotonic_time allowed) {
  auto request = driven.make(id, shape);
  request.deadline = request.arrival + allowed;
  return request;
}

/// Whether it is, and leaves no trace.
bool is_taken(driven_scheduler& driven, schedule_request request) {
  const request_id id = request.id;
  const bool taken = driven.core.enqueue(std::move(request), driven.now).has_value();
  if (taken) driven.core.cancel(id);
  return taken;
}

void warm_up(driven_scheduler& driven) {
  driven.submit(1, {.prompt = 8, .max_tokens = 8});
  while (driven.core.has_work()) step(driven);
}

}  // namespace

TEST_CASE("an unmeetable deadline is refused with the estimate", "[schedule][lanes]") {
  driven_scheduler driven(timed_limits());
  // Nothing was measured yet: nobody is refused by a guess.
  driven.submit(due_in(driven, 7, {.prompt = 20, .max_tokens = 10}, 1ms));
  driven.cancel(request_id{7});
  warm_up(driven);
  // Alone: 20 rows and a step, then 10 steps of 2 ms.
  const auto refused =
      driven.core.enqueue(due_in(driven, 2, {.prompt = 20, .max_tokens = 10}, 35ms), driven.now)
          .failure();
  REQUIRE(refused.code == errc::deadline_unmeetable);
  REQUIRE(refused.message ==
          "the request is expected to finish after 41 ms, but its deadline is 35 ms after its "
          "arrival: allow more time, or lower max_tokens");
  REQUIRE(!driven.core.has(request_id{2}));
  auto taken = due_in(driven, 3, {.prompt = 20, .max_tokens = 10}, 45ms);
  const auto deadline = *taken.deadline;
  driven.submit(std::move(taken));
  while (driven.core.has_work()) step(driven);
  REQUIRE(driven.now <= deadline);
}

TEST_CASE("a deadline is judged by the turn of its tenant", "[schedule][lanes][shares]") {
  driven_scheduler driven(timed_limits());
  warm_up(driven);
  const auto of_tenant = [&](std::uint64_t id, std::uint32_t tenant) {
    auto request = driven.make(id, {.prompt = 8, .max_tokens = 8});
    request.tenant_index = tenant;
    return request;
  };
  for (std::uint64_t id = 2; id <= 40; ++id) driven.submit(of_tenant(id, 1));
  step(driven);
  const auto is_taken = [&](std::uint64_t id, std::uint32_t tenant) {
    auto request = of_tenant(id, tenant);
    request.deadline = request.arrival + 200ms;
    request.priority = 1;  // the last of its tenant
    return driven.core.enqueue(std::move(request), driven.now).has_value();
  };
  REQUIRE_FALSE(is_taken(100, 1));
  REQUIRE(is_taken(101, 2));
}

TEST_CASE("what waits or runs before it counts, what comes after it does not",
          "[schedule][lanes]") {
  driven_scheduler driven(timed_limits());
  warm_up(driven);
  const auto fits = [&](lane service, monotonic_time allowed) {
    return is_taken(
        driven, due_in(driven, 99, {.prompt = 8, .max_tokens = 8, .service = service}, allowed));
  };
  REQUIRE(fits(lane::realtime, 40ms));
  for (std::uint64_t id = 10; id < 22; ++id)
    driven.submit(due_in(driven, id, {.prompt = 8, .max_tokens = 20}, 60'000ms));
  // Behind twelve with later deadlines: it goes first.
  REQUIRE(fits(lane::realtime, 80ms));
  step(driven);
  // Four of them run now, and have their 20 tokens of 5 ms in front of it.
  REQUIRE(!fits(lane::realtime, 80ms));
  REQUIRE(fits(lane::realtime, 300ms));
  REQUIRE(!fits(lane::async, 300ms));  // behind all twelve
  REQUIRE(fits(lane::async, 600ms));
  REQUIRE(fits(lane::vip, 40ms));  // in front of all
  while (driven.core.has_work()) step(driven);
}

TEST_CASE("outputs that end early make later estimates shorter", "[schedule][lanes]") {
  auto limits = timed_limits();
  driven_scheduler driven(limits);
  warm_up(driven);
  const auto estimate_fits = [&] {
    auto request = due_in(driven, 99, {.prompt = 4, .max_tokens = 200}, 150ms);
    auto params = *request.params;
    params.stopping.ignore_eos = false;
    request.params = std::make_shared<const generation_params>(params);
    return is_taken(driven, std::move(request));
  };
  REQUIRE(!estimate_fits());  // half of 200 tokens at 2 ms
  for (std::uint64_t id = 100; id < 160; ++id) {
    auto request = driven.make(id, {.prompt = 4, .max_tokens = 200});
    auto params = *request.params;
    params.stopping.ignore_eos = false;
    params.stopping.stop_token_ids = {};
    for (int token = 0; token < 48; ++token)
      params.stopping.stop_token_ids.push_back(static_cast<token_id>(token));
    request.params = std::make_shared<const generation_params>(params);
    driven.submit(std::move(request));
    while (driven.core.has_work()) step(driven);
  }
  REQUIRE(estimate_fits());
}

TEST_CASE("a running request that is late for its deadline stands still no more",
          "[schedule][lanes]") {
  auto limits = timed_limits();
  limits.max_num_seqs = 16;
  limits.step_ms_max = limits.vip_step_ms_max = 6;
  driven_scheduler driven(limits);
  warm_up(driven);
  driven.submit(2, {.prompt = 1, .max_tokens = 200, .service = lane::async});
  auto hasty = due_in(driven, 3, {.prompt = 1, .max_tokens = 40, .service = lane::async}, 400ms);
  const monotonic_time deadline = *hasty.deadline;
  driven.submit(std::move(hasty));
  while (driven.core.counts().waiting[to_index(lane::async)] != 0) step(driven);
  // Their decodes fill the step: async stands still, for a second.
  for (std::uint64_t id = 4; id < 9; ++id) driven.submit(id, {.prompt = 1, .max_tokens = 200});
  while (driven.core.has(request_id{3})) {
    step(driven);
    REQUIRE(driven.now <= deadline);
  }
}

TEST_CASE("async work makes way for a request of its own lane that is late", "[schedule][lanes]") {
  auto limits = timed_limits();
  limits.max_num_seqs = 16;
  limits.step_ms_max = 20;
  driven_scheduler driven(limits);
  warm_up(driven);
  auto hasty = due_in(driven, 2, {.prompt = 1, .max_tokens = 40, .service = lane::async}, 400ms);
  const monotonic_time deadline = *hasty.deadline;
  driven.submit(std::move(hasty));
  // Steps of all take 14 ms, 40 of them 560.
  for (std::uint64_t id = 3; id < 15; ++id)
    driven.submit(id, {.prompt = 1, .max_tokens = 200, .service = lane::async});
  while (driven.core.has(request_id{2})) {
    step(driven);
    REQUIRE(driven.now <= deadline);
  }
  while (driven.core.has_work()) step(driven);
}

TEST_CASE("a deadline is judged by what lanes above have asked for of late", "[schedule][lanes]") {
  driven_scheduler driven(timed_limits());
  warm_up(driven);
  const auto fits = [&](lane service) {
    return is_taken(
        driven, due_in(driven, 999, {.prompt = 8, .max_tokens = 20, .service = service}, 400ms));
  };
  const auto fill = [&](std::uint64_t first, lane service) {
    for (std::uint64_t id = first; id < first + 8; ++id)
      driven.submit(id, {.prompt = 8, .max_tokens = 20, .service = service});
  };
  fill(10, lane::async);
  step(driven);
  REQUIRE(fits(lane::async));
  while (driven.core.has_work()) step(driven);
  // Realtime takes seven eighths of the time and is done each time.
  for (std::uint64_t id = 100; id < 250; ++id) {
    driven.submit(id, {.prompt = 16, .max_tokens = 16});
    while (driven.core.has_work()) step(driven);
    driven.now += 5ms;
  }
  fill(300, lane::async);
  step(driven);
  REQUIRE(!fits(lane::async));
  REQUIRE(fits(lane::realtime));
}

TEST_CASE("time on the way counts against a deadline", "[schedule][lanes]") {
  driven_scheduler driven(timed_limits());
  warm_up(driven);
  auto request = due_in(driven, 2, {.prompt = 8, .max_tokens = 8}, 60ms);
  REQUIRE(driven.core.enqueue(request, driven.now + 50ms).failure().message ==
          "the request is expected to finish after 75 ms, but its deadline is 60 ms after its "
          "arrival: allow more time, or lower max_tokens");
  REQUIRE(driven.core.enqueue(request, driven.now).has_value());
}
