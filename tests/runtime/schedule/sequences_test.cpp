// Proves what happens to one request's sequences: forking after a shared prompt, ending, stopping,
// cancelling while a step runs, resuming, prompt logprobs.
#include "tests/runtime/schedule/driven_scheduler.hpp"

using namespace troupe;
using namespace troupe::test;

namespace {

schedule_request with(schedule_request request, auto change) {
  generation_params params = *request.params;
  change(params);
  request.params = std::make_shared<const generation_params>(params);
  return request;
}

}  // namespace

TEST_CASE("n sequences share their prompt and part by copy-on-write", "[schedule]") {
  driven_scheduler driven(small_limits());
  driven.submit(1, {.prompt = 10, .max_tokens = 5, .n = 4});
  auto planned = driven.plan();
  REQUIRE(planned.plan.slices.size() == 1);
  REQUIRE(planned.plan.slices[0].sample->sequence_indices ==
          std::vector<std::uint32_t>{0, 1, 2, 3});
  const auto outcome = driven.finish(planned.plan);
  REQUIRE(outcome.updates.size() == 4);
  REQUIRE(driven.core.counts().blocks_referenced == 3);
  REQUIRE(driven.core.counts().running_sequences == 4);
  planned = driven.step();
  REQUIRE(planned.plan.slices.size() == 4);
  REQUIRE(planned.plan.copies.size() == 3);  // the last holder writes in place
  REQUIRE(driven.core.counts().blocks_referenced == 2 + 4);
  REQUIRE(driven.step().plan.copies.empty());
  driven.drain();
}

TEST_CASE("sequences end at EOS, stop ids, max_tokens and max_model_len", "[schedule]") {
  auto limits = small_limits();
  limits.end_of_generation = {token_id{3}};
  limits.max_model_len = 64;
  driven_scheduler driven(limits);
  std::uint64_t id = 1;
  std::size_t stops = 0, lengths = 0, at_model_len = 0;
  for (; id <= 60; ++id) {
    auto request =
        with(driven.make(id, {.prompt = 10 + id % 20, .max_tokens = 100}), [&](auto& params) {
          params.stopping.ignore_eos = id % 3 == 0;
          if (id % 4 == 0) params.stopping.stop_token_ids = {token_id{9}};
          if (id % 5 == 0) params.stopping.min_tokens = 20;
          if (id % 7 == 0) params.stopping.max_tokens = 6;
        });
    driven.submit(request);
  }
  driven.drain();  // receive() compares reason, stop id and every token with the naive engine
  for (const auto& [key, each] : driven.truth) {
    const auto& naive = each.sequences[0].naive;
    naive.reason == finish_reason::stop ? ++stops : ++lengths;
    if (naive.paths.size() == limits.max_model_len) ++at_model_len;
    if (each.request.params->stopping.min_tokens != 0 && naive.reason == finish_reason::stop) {
      REQUIRE(naive.tokens.size() > 20);
    }
  }
  REQUIRE(stops > 10);
  REQUIRE(lengths > 10);
  REQUIRE(at_model_len > 5);
}

TEST_CASE("a cancelled request's blocks stay until the step in flight is done", "[schedule]") {
  driven_scheduler driven(small_limits());
  driven.submit(1, {.prompt = 20, .max_tokens = 5});
  driven.submit(2, {.prompt = 20, .max_tokens = 5});
  const auto planned = driven.plan();
  REQUIRE(driven.core.counts().blocks_referenced == 10);
  REQUIRE(driven.core.cancel(request_id{1}));
  REQUIRE(!driven.core.cancel(request_id{1}));
  driven.core.check_integrity();
  REQUIRE(driven.core.counts().blocks_referenced == 10);
  REQUIRE(driven.core.counts().running[to_index(lane::realtime)] == 1);
  driven.truth.at(request_id{1}).cancelled = true;
  const auto outcome = driven.finish(planned.plan);
  REQUIRE(outcome.updates.size() == 1);
  REQUIRE(driven.core.counts().blocks_referenced == 5);
  REQUIRE(driven.core.counts().blocks_cached == 5);  // its KV is computed and findable
  driven.drain();
}

TEST_CASE("an id is free again as soon as its request is cancelled", "[schedule]") {
  driven_scheduler driven(small_limits());
  driven.submit(1, {.prompt = 20});
  const auto planned = driven.plan();
  const auto result = driven.engine.run(planned.plan, driven.truth);
  REQUIRE(driven.core.cancel(request_id{1}));
  driven.submit(1, {.prompt = 12});
  REQUIRE(driven.core.complete(result, driven.now).updates.empty());
  driven.core.check_integrity();
  driven.drain();
}

TEST_CASE("stopping one sequence leaves its siblings, before and after they part", "[schedule]") {
  for (const std::uint32_t stopped : {0u, 1u}) {
    for (const int steps_before : {0, 1, 3}) {
      for (const bool in_flight : {false, true}) {
        driven_scheduler driven(small_limits());
        driven.submit(1, {.prompt = 100, .max_tokens = 9, .n = 3});
        for (int i = 0; i < steps_before; ++i) driven.step();
        std::optional<scheduler_core::planned> planned;
        if (in_flight) planned = driven.plan();
        REQUIRE(driven.core.stop_sequence({request_id{1}, stopped}));
        REQUIRE(!driven.core.stop_sequence({request_id{1}, stopped}));
        driven.core.check_integrity();
        driven.truth.at(request_id{1}).sequences[stopped].stopped = true;
        if (planned) driven.finish(planned->plan);
        driven.drain();
        REQUIRE(driven.truth.at(request_id{1}).sequences[2].finished);
      }
    }
  }
}

TEST_CASE("resumed sequences go on where they were, each on its own", "[schedule]") {
  for (const bool caching : {true, false}) {
    auto limits = small_limits();
    limits.enable_prefix_caching = caching;
    driven_scheduler driven(limits);
    auto request = driven.make(1, {.prompt = 100, .max_tokens = 12, .n = 3});
    for (std::uint32_t i = 0; i < 3; ++i) {
      const auto naive = generate_alone(request, i, limits);
      const long count = i == 2 ? 12 : 4 + i;
      request.resumed.push_back({{naive.tokens.begin(), naive.tokens.begin() + count}, i == 2});
    }
    driven.submit(request);
    REQUIRE(driven.step().plan.token_count() == 64);
    auto planned = driven.step();
    REQUIRE(planned.plan.slices[0].tokens.size() == 40);
    REQUIRE(planned.plan.slices[0].sample->sequence_indices == std::vector<std::uint32_t>{0});
    if (caching) {  // the sibling waits for the first one and finds the whole blocks of the prompt
      REQUIRE(planned.plan.slices.size() == 1);
      planned = driven.step();
      REQUIRE(planned.plan.slices[1].position_first == 100);
      REQUIRE(planned.plan.slices[1].tokens.size() == 5);
    } else {
      REQUIRE(planned.plan.slices[1].position_first == 0);
      REQUIRE(planned.plan.slices[1].tokens.size() == 24);
    }
    driven.drain();
    REQUIRE(driven.truth.at(request_id{1}).sequences[1].finished);
  }
}

TEST_CASE("prompt logprobs compute every row once, past a warm cache and a preemption",
          "[schedule]") {
  auto limits = small_limits();
  limits.block_count = 44;
  limits.lanes[to_index(lane::vip)].reserved_fraction = 0.9;
  driven_scheduler driven(limits);
  driven.submit(1, {.prompt = 100, .max_tokens = 2});
  driven.drain();
  auto request = with(driven.make(1, {.prompt = 100, .max_tokens = 2}),
                      [](auto& params) { params.sampling.prompt_logprobs = 3; });
  request.id = request_id{2};
  driven.submit(request);
  auto planned = driven.plan();
  REQUIRE(planned.started[0].cached_tokens == 0);
  REQUIRE(planned.plan.slices[0].prompt_logprobs == 3u);
  REQUIRE(planned.plan.slices[0].next_token == request.prompt->at(64));
  const auto outcome = driven.finish(planned.plan);
  REQUIRE(outcome.updates.size() == 1);
  REQUIRE(outcome.updates[0].prompt_logprobs.size() == 64);
  driven.submit(3, {.prompt = 140, .max_tokens = 4, .service = lane::vip});
  REQUIRE(ids_of(driven.step().plan) == std::vector<std::uint64_t>{3});
  REQUIRE(driven.core.counts().preemptions == 1);
  driven.drain();
  REQUIRE(driven.truth.at(request_id{2}).prompt_rows == 99);
}

TEST_CASE("with max_tokens of 0 the sequences end with their prompt, and nothing is drawn",
          "[schedule]") {
  for (const bool scores : {false, true}) {
    auto limits = small_limits();
    limits.block_count = limits.max_model_len / limits.block_tokens;
    driven_scheduler driven(limits);
    auto request = with(driven.make(1, {.prompt = limits.max_model_len, .max_tokens = 0, .n = 2}),
                        [&](auto& params) {
                          if (scores) params.sampling.prompt_logprobs = 1;
                        });
    request.resumed.resize(2);  // what a request without output says after a replica's restart
    driven.submit(request);
    for (int chunk = 0; chunk < 3; ++chunk) driven.step();
    const auto planned = driven.plan();
    REQUIRE(!planned.plan.slices[0].sample);
    const auto outcome = driven.finish(planned.plan);
    REQUIRE(outcome.updates.size() == 2);
    REQUIRE(outcome.updates[1].finished == finish_reason::length);
    REQUIRE(!driven.core.has_work());
    driven.drain();
    REQUIRE(driven.truth.at(request_id{1}).prompt_rows == (scores ? limits.max_model_len - 1 : 0));
  }
}

TEST_CASE("a scheduler may be moved, and may die with work and a step in flight", "[schedule]") {
  driven_scheduler driven(small_limits());
  driven.submit(1, {.prompt = 20, .n = 3});
  driven.step();
  driven.submit(2, {});
  driven.plan();
  driven.core.cancel(request_id{1});
  const scheduler_core moved = std::move(driven.core);
  moved.check_integrity();
  REQUIRE(moved.has_step_in_flight());
}
