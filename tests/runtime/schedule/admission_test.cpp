// Proves who is admitted when: the order of the queues, the bounds of a step, chunks, prefix hits,
// and the errors of enqueue().
#include "tests/runtime/schedule/driven_scheduler.hpp"

using namespace troupe;
using namespace troupe::test;
using id_list = std::vector<std::uint64_t>;

TEST_CASE("waiting requests go by lane, priority, deadline, arrival and cost", "[schedule]") {
  driven_scheduler driven(small_limits());
  const auto at = monotonic_time(500);
  const auto add = [&](std::uint64_t id, lane service, std::int32_t priority,
                       std::optional<monotonic_time> deadline, monotonic_time arrival,
                       std::size_t length) {
    auto request = driven.make(id, {.prompt = length, .service = service});
    request.priority = priority;
    request.deadline = deadline;
    request.arrival = arrival;
    driven.submit(request);
  };
  add(1, lane::async, -5, at, at, 4);
  add(2, lane::realtime, 0, {}, at, 8);
  add(3, lane::realtime, 0, {}, at, 4);
  add(4, lane::realtime, 0, {}, monotonic_time(400), 9);
  add(5, lane::realtime, 0, at, monotonic_time(600), 4);
  add(6, lane::realtime, -1, {}, monotonic_time(700), 4);
  add(7, lane::vip, 9, {}, monotonic_time(900), 4);
  add(8, lane::async, -6, {}, at, 4);
  const auto planned = driven.step();
  REQUIRE(ids_of(planned.started) == id_list{7, 6, 5, 4, 3, 2});  // the VIP's prompt pauses async
  REQUIRE(planned.started[0].queued == driven.now - monotonic_time(900));
  REQUIRE(ids_of(driven.step().started) == id_list{8, 1});
  driven.drain();
}

TEST_CASE("a step keeps to its tokens, sequences and starts", "[schedule]") {
  auto limits = small_limits();
  limits.max_batch_size = 2;
  limits.max_num_seqs = 5;
  driven_scheduler driven(limits);
  for (std::uint64_t id = 1; id <= 8; ++id) driven.submit(id, {.prompt = 8, .max_tokens = 20});
  REQUIRE(ids_of(driven.step().plan) == id_list{1, 2});
  REQUIRE(ids_of(driven.step().plan) == id_list{1, 2, 3, 4});
  REQUIRE(ids_of(driven.step().plan) == id_list{1, 2, 3, 4, 5});
  REQUIRE(ids_of(driven.step().plan) == id_list{1, 2, 3, 4, 5});
  const auto counts = driven.core.counts();
  REQUIRE(counts.running[to_index(lane::realtime)] == 5);
  REQUIRE(counts.waiting[to_index(lane::realtime)] == 3);
  REQUIRE(counts.running_sequences == 5);
  driven.drain();
}

TEST_CASE("a long prompt is computed in chunks beside decodes", "[schedule]") {
  driven_scheduler driven(small_limits());
  driven.submit(1, {.prompt = 4, .max_tokens = 10});
  driven.step();
  driven.submit(2, {.prompt = 100, .max_tokens = 3});
  auto planned = driven.step();
  REQUIRE(planned.plan.token_count() == 64);
  REQUIRE(planned.plan.slices[1].tokens.size() == 63);
  REQUIRE(!planned.plan.slices[1].sample);
  planned = driven.step();
  REQUIRE(planned.plan.slices[1].position_first == 63);
  REQUIRE(planned.plan.slices[1].tokens.size() == 37);
  REQUIRE(planned.plan.slices[1].sample);
  driven.drain();
}

TEST_CASE("without chunks a prompt is taken whole or waits, and nothing overtakes it",
          "[schedule]") {
  auto limits = small_limits();
  limits.enable_chunked_prefill = false;
  limits.max_num_batched_tokens = 256;
  driven_scheduler driven(limits);
  driven.submit(1, {.prompt = 200});
  driven.submit(2, {.prompt = 100});
  driven.submit(3, {.prompt = 8});
  REQUIRE(ids_of(driven.step().plan) == id_list{1});
  REQUIRE(ids_of(driven.step().plan) == id_list{1, 2, 3});
  driven.drain();
}

TEST_CASE("a VIP joins the next step although a realtime prompt would fill it", "[schedule]") {
  driven_scheduler driven(small_limits());
  driven.submit(1, {.prompt = 200});
  driven.step();
  driven.submit(2, {.prompt = 40, .service = lane::vip});
  const auto planned = driven.step();
  REQUIRE(ids_of(planned.plan) == id_list{2, 1});
  REQUIRE(planned.plan.slices[0].tokens.size() == 40);
  REQUIRE(planned.plan.slices[1].tokens.size() == 24);
  driven.drain();
}

TEST_CASE("a request that lacks blocks holds back what is behind it", "[schedule]") {
  auto limits = small_limits();
  limits.block_count = 20;
  driven_scheduler driven(limits);
  driven.submit(1, {.prompt = 40, .max_tokens = 8});  // 10 blocks, 12 in the end
  driven.submit(2, {.prompt = 40, .max_tokens = 8});  // does not fit beside the first
  driven.submit(3, {.prompt = 4, .service = lane::async});
  REQUIRE(ids_of(driven.step().plan) == id_list{1});
  REQUIRE(driven.core.counts().preemptions == 0);
  driven.drain();
  REQUIRE(driven.core.counts().preemptions == 0);
}

TEST_CASE("admission leaves a reserve, so that the next decodes preempt nobody", "[schedule]") {
  auto limits = small_limits();
  limits.block_count = 12;
  driven_scheduler driven(limits);
  for (std::uint64_t id = 1; id <= 6; ++id) driven.submit(id, {.prompt = 8, .max_tokens = 4});
  driven.drain();
  REQUIRE(driven.core.counts().preemptions == 0);
}

TEST_CASE("a later turn finds its conversation, another tenant does not", "[schedule]") {
  driven_scheduler driven(small_limits());
  auto first = driven.make(1, {.prompt = 30, .max_tokens = 11});
  driven.submit(first);
  driven.drain();
  auto prompt = *first.prompt;
  const auto& reply = driven.truth.at(first.id).sequences[0].naive.tokens;
  prompt.insert(prompt.end(), reply.begin(), reply.end());
  prompt.push_back(token_id{5});
  auto second = driven.make(2, {.max_tokens = 3});
  second.prompt = std::make_shared<const std::vector<token_id>>(prompt);
  auto other = second;
  other.id = request_id{3};
  other.tenant_salt = 99;
  driven.submit(second);
  driven.submit(other);
  const auto planned = driven.step();
  // 30 prompt and 10 of 11 generated tokens were computed: 40 positions, 10 whole blocks of 4.
  REQUIRE(planned.started[0].cached_tokens == 40);
  REQUIRE(planned.plan.slices[0].position_first == 40);
  REQUIRE(planned.plan.slices[0].tokens.size() == 2);
  REQUIRE(planned.started[1].cached_tokens == 0);
  driven.drain();
  REQUIRE(driven.core.counts().prefix_hit_tokens == 40);
  REQUIRE(driven.core.counts().prefix_query_tokens == 30 + 42 + 42);
}

TEST_CASE("equal prompts of one step end in the same blocks", "[schedule]") {
  driven_scheduler driven(small_limits());
  auto first = driven.make(1, {.prompt = 17, .max_tokens = 2});
  auto second = first;
  second.id = request_id{2};
  driven.submit(first);
  driven.submit(second);
  driven.step();
  REQUIRE(driven.core.counts().blocks_referenced ==
          4 + 2);  // 4 full shared blocks, a partial one each
  driven.drain();
}

TEST_CASE("enqueue refuses with the numbers", "[schedule]") {
  auto limits = small_limits();
  limits.block_count = 10;
  limits.max_num_queued_reqs = 2;
  driven_scheduler driven(limits);
  const auto refuse = [&](request_shape shape) {
    return driven.core.enqueue(driven.make(9, shape), driven.now).failure();
  };
  const auto never_fits = refuse({.prompt = 30, .max_tokens = 12});
  REQUIRE(never_fits.code == errc::invalid_argument);
  REQUIRE(never_fits.message ==
          "a prompt of 30 tokens and max_tokens of 12 need 11 KV blocks of 4 positions, but there "
          "are 10; shorten the prompt or lower max_tokens");
  REQUIRE(refuse({.prompt = 256}).code == errc::invalid_argument);
  REQUIRE(refuse({.prompt = 0}).code == errc::invalid_argument);
  REQUIRE(refuse({.prompt = 257, .max_tokens = 0}).code == errc::invalid_argument);
  REQUIRE(refuse({.prompt = 41, .max_tokens = 0}).code == errc::invalid_argument);
  REQUIRE(refuse({.n = 17}).code == errc::invalid_argument);
  auto resumed = driven.make(9, {.max_tokens = 2, .n = 2});
  resumed.resumed.resize(1);
  REQUIRE(driven.core.enqueue(resumed, driven.now).failure().code == errc::invalid_argument);
  resumed.resumed.resize(2);
  resumed.resumed[1].output = {token_id{1}, token_id{2}};
  REQUIRE(driven.core.enqueue(resumed, driven.now).failure().code == errc::invalid_argument);
  resumed.resumed[0].finished = resumed.resumed[1].finished = true;
  REQUIRE(driven.core.enqueue(resumed, driven.now).failure().code == errc::invalid_argument);

  driven.submit(
      1, {.prompt = 30, .max_tokens = 11});  // exactly all blocks: the last token is never written
  REQUIRE(driven.core.enqueue(driven.make(1, {}), driven.now).failure().code ==
          errc::already_exists);
  driven.submit(2, {});
  REQUIRE(refuse({}).code == errc::overloaded);
  driven.drain();
  REQUIRE(!driven.core.cancel(request_id{1}));
}

TEST_CASE("check_limits names what is out of range", "[schedule]") {
  auto limits = small_limits();
  REQUIRE(check_limits(limits).has_value());
  limits.max_num_batched_tokens = 15;
  REQUIRE(check_limits(limits).failure().message ==
          "max_num_batched_tokens is 15, but must be in 16 .. 4294967295");
  limits.max_num_batched_tokens = 255;
  REQUIRE(check_limits(limits).has_value());
  limits.enable_chunked_prefill = false;
  REQUIRE_THAT(
      check_limits(limits).failure().message,
      Catch::StartsWith("max_num_batched_tokens is 255, but without enable_chunked_prefill") &&
          Catch::Contains("max_model_len (256)"));
  limits = small_limits();
  limits.block_count = 0;
  REQUIRE(!check_limits(limits).has_value());
}
