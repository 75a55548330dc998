// Steps in two parts: prompts that end in one go before what decodes in it, and before prompts that
// go on.
#include <catch2/catch.hpp>

#include "tests/runtime/schedule/driven_lanes.hpp"

namespace troupe::test {
namespace {

scheduler_limits part_limits() {
  auto limits = timed_limits();
  limits.max_model_len = 1024;
  limits.step_ms_max = 1'000;
  limits.vip_step_ms_max = 1'000;
  limits.first_part_tokens_min = 100;
  limits.second_part_rows_min = 8;
  return limits;
}

constexpr request_shape decoding{.prompt = 4, .max_tokens = 200};

TEST_CASE("a prompt that ends in a step goes before those that decode in it", "[schedule]") {
  driven_scheduler driven(part_limits());
  start(driven, 1, 8, decoding);
  driven.submit(9, {.prompt = 100, .max_tokens = 20});
  const auto first = driven.plan();
  CHECK(ids_of(first.plan) == id_list{9});
  CHECK(first.whole.tokens() == 108);
  CHECK(first.shape.tokens() == 100);
  const auto outcome = driven.finish(first.plan);
  REQUIRE(outcome.updates.size() == 1);
  CHECK(outcome.updates[0].sequence.request == request_id{9});
  CHECK(outcome.updates[0].token);

  // Whoever comes now waits for the step's end, as it would without parts.
  driven.submit(10, {.prompt = 150, .max_tokens = 20});
  const auto second = driven.step();
  CHECK(ids_of(second.plan) == id_list{1, 2, 3, 4, 5, 6, 7, 8});
  CHECK(second.whole.tokens() == 0);
  CHECK(second.started.empty());

  CHECK(ids_of(driven.step().plan) == id_list{10});
  CHECK(ids_of(driven.step().plan) == id_list{1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(driven.step().plan.slices.size() == 10);
  driven.drain();
}

TEST_CASE("several prompts that end go first together; one that goes on stays", "[schedule]") {
  driven_scheduler driven(part_limits());
  start(driven, 1, 8, decoding);
  for (const std::uint64_t id : {9u, 10u}) driven.submit(id, {.prompt = 60, .max_tokens = 20});
  driven.submit(11, {.prompt = 250, .max_tokens = 20});
  CHECK(ids_of(driven.step().plan) == id_list{9, 10});
  const auto second = driven.step();
  CHECK(set_of(second.plan) == std::set<std::uint64_t>{1, 2, 3, 4, 5, 6, 7, 8, 11});
  // Unmeasured steps hold so much of prompts.
  CHECK(second.plan.token_count() == cost_model::prefill_tokens_unmeasured - 120 + 8);
  // What is left of the prompt ends with the next step.
  CHECK(ids_of(driven.step().plan) == id_list{11});
  driven.drain();
}

TEST_CASE("a step stays whole where parts save too little or would pass by somebody",
          "[schedule]") {
  driven_scheduler driven(part_limits());
  SECTION("few tokens") {
    start(driven, 1, 8, decoding);
    driven.submit(9, {.prompt = 99});
    CHECK(driven.step().plan.slices.size() == 9);
  }
  SECTION("few others") {
    start(driven, 1, 7, decoding);
    driven.submit(9, {.prompt = 200});
    CHECK(driven.step().plan.slices.size() == 8);
  }
  SECTION("a lane above decodes") {
    start(driven, 1, 8, {.prompt = 4, .max_tokens = 200, .service = lane::vip});
    driven.submit(9, {.prompt = 200});
    CHECK(driven.step().plan.slices.size() == 9);
  }
  SECTION("parts would take longer than a step may") {
    auto limits = part_limits();
    limits.initial_cost = row_costs(0.1, 50.0);
    limits.step_ms_max = 100;
    driven_scheduler slow(limits);
    start(slow, 1, 8, decoding);
    slow.submit(9, {.prompt = 200});
    CHECK(slow.step().plan.slices.size() == 9);
    slow.drain();
  }
  SECTION("async's prompts") {
    start(driven, 1, 8, {.prompt = 4, .max_tokens = 200, .service = lane::async});
    driven.submit(9, {.prompt = 200, .service = lane::async});
    CHECK(driven.step().plan.slices.size() == 9);
  }
  SECTION("a lane below decodes: the prompt goes first") {
    start(driven, 1, 8, {.prompt = 4, .max_tokens = 200, .service = lane::async});
    driven.submit(9, {.prompt = 200});
    CHECK(ids_of(driven.step().plan) == id_list{9});
    CHECK(driven.step().plan.slices.size() == 8);
  }
  driven.drain();
}

TEST_CASE("requests may end between the parts of a step", "[schedule]") {
  driven_scheduler driven(part_limits());
  start(driven, 1, 8, decoding);
  driven.submit(9, {.prompt = 100, .max_tokens = 20});
  CHECK(ids_of(driven.step().plan) == id_list{9});
  SECTION("some") {
    for (const std::uint64_t id : {3u, 9u}) driven.cancel(request_id{id});
    CHECK(driven.step().plan.slices.size() == 8);
    CHECK(set_of(driven.step().plan) == std::set<std::uint64_t>{1, 2, 4, 5, 6, 7, 8});
  }
  SECTION("all") {
    for (std::uint64_t id = 1; id <= 9; ++id) driven.cancel(request_id{id});
    driven.core.check_integrity();
    CHECK(driven.core.has_work());
    CHECK(driven.step().plan.slices.size() == 8);
    CHECK(!driven.core.has_work());
  }
  driven.drain();
}

}  // namespace
}  // namespace troupe::test
