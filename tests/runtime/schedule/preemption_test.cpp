// Proves who is preempted for whom, that progress survives it, and that nobody starves.
#include <algorithm>

#include "tests/runtime/schedule/driven_scheduler.hpp"

using namespace troupe;
using namespace troupe::test;
using id_list = std::vector<std::uint64_t>;

namespace {

bool is_running(const step_plan& plan, std::uint64_t id) {
  const auto ids = ids_of(plan);
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

TEST_CASE("growth preempts the lowest lane's latest request, which keeps its progress",
          "[schedule]") {
  auto limits = small_limits();
  limits.block_count = 12;
  limits.enable_prefix_caching = false;
  driven_scheduler driven(limits);
  driven.submit(1, {.prompt = 8, .max_tokens = 12, .service = lane::async});
  driven.submit(2, {.prompt = 8, .max_tokens = 12, .service = lane::async});
  driven.submit(3, {.prompt = 8, .max_tokens = 12});
  REQUIRE(driven.step().plan.slices.size() == 3);
  bool seen = false;
  for (int i = 0; i < 20 && !seen; ++i) {
    const auto planned = driven.step();
    REQUIRE(is_running(planned.plan, 3));
    if (driven.core.counts().preemptions == 0) continue;
    seen = true;
    REQUIRE(is_running(planned.plan, 1));
    REQUIRE(!is_running(planned.plan, 2));
    REQUIRE(driven.core.counts().waiting[to_index(lane::async)] == 1);
  }
  REQUIRE(seen);
  const auto emitted = driven.truth.at(request_id{2}).sequences[0].emitted;
  REQUIRE(emitted > 0);
  driven.submit(4, {.prompt = 4, .max_tokens = 2, .service = lane::async});
  for (;;) {  // the preempted one is admitted first, and computes prompt and output again
    const auto planned = driven.step();
    REQUIRE(!(is_running(planned.plan, 4) &&
              driven.truth.at(request_id{2}).sequences[0].emitted == emitted));
    if (!is_running(planned.plan, 2)) continue;
    REQUIRE(planned.started.empty() == !is_running(planned.plan, 4));
    const auto& slice = *std::ranges::find_if(planned.plan.slices, [](const auto& each) {
      return each.sequence.request == request_id{2};
    });
    REQUIRE(slice.position_first == 0);
    REQUIRE(slice.tokens.size() == 8 + emitted);
    break;
  }
  driven.drain();
}

TEST_CASE("a VIP preempts async, then realtime, for blocks", "[schedule]") {
  auto limits = small_limits();
  limits.lanes[to_index(lane::vip)].reserved_fraction = 0.95;
  limits.block_count = 32;
  limits.max_num_batched_tokens = 256;
  driven_scheduler driven(limits);
  driven.submit(1, {.prompt = 32, .max_tokens = 8, .service = lane::realtime});
  driven.submit(2, {.prompt = 32, .max_tokens = 8, .service = lane::async});
  driven.step();
  driven.step();
  driven.submit(3, {.prompt = 60, .max_tokens = 4, .service = lane::vip});
  REQUIRE(ids_of(driven.step().plan) == id_list{3, 1});
  driven.submit(4, {.prompt = 56, .max_tokens = 4, .service = lane::vip});
  const auto planned = driven.step();
  REQUIRE(ids_of(planned.plan) == id_list{3, 4});
  REQUIRE(driven.core.counts().waiting[to_index(lane::realtime)] == 1);
  REQUIRE(driven.core.counts().preemptions == 2);
  driven.drain();
}

TEST_CASE("a VIP preempts for a seat, and only when it can then run", "[schedule]") {
  auto limits = small_limits();
  limits.max_num_seqs = 4;
  driven_scheduler driven(limits);
  driven.submit(1, {.max_tokens = 30, .service = lane::vip, .n = 2});
  driven.submit(2, {.max_tokens = 30});
  driven.submit(3, {.max_tokens = 30, .service = lane::async});
  driven.step();
  driven.step();
  driven.submit(4,
                {.service = lane::vip, .n = 3});  // beside the first VIP there are 2 seats at most
  REQUIRE(driven.step().plan.slices.size() == 4);
  REQUIRE(driven.core.counts().preemptions == 0);
  driven.cancel(request_id{4});
  driven.submit(5, {.service = lane::vip});
  const auto planned = driven.step();
  REQUIRE(!is_running(planned.plan, 3));
  REQUIRE(is_running(planned.plan, 2));
  REQUIRE(is_running(planned.plan, 5));
  driven.drain();
}

TEST_CASE("a VIP that other VIPs keep out preempts nobody in vain", "[schedule]") {
  auto limits = small_limits();
  limits.block_count = 24;
  limits.max_num_batched_tokens = 256;
  driven_scheduler driven(limits);
  driven.submit(1, {.prompt = 48, .max_tokens = 8, .service = lane::vip});
  driven.submit(2, {.prompt = 16, .max_tokens = 8});
  driven.step();
  driven.submit(3, {.prompt = 60, .max_tokens = 8, .service = lane::vip});
  REQUIRE(ids_of(driven.step().plan) == id_list{1, 2});
  REQUIRE(driven.core.counts().preemptions == 0);
  driven.drain();
}

TEST_CASE("a VIP finds room in a step that decodes would fill", "[schedule]") {
  auto limits = small_limits();
  limits.max_num_seqs = 2;
  limits.max_num_batched_tokens = 2;
  driven_scheduler driven(limits);
  driven.submit(1, {.prompt = 2, .max_tokens = 30, .service = lane::async});
  driven.submit(2, {.prompt = 2, .max_tokens = 30, .service = lane::async});
  for (int i = 0; i < 4; ++i) driven.step();
  driven.submit(3, {.prompt = 2, .max_tokens = 4, .service = lane::vip});
  REQUIRE(ids_of(driven.step().plan) == id_list{3});
  REQUIRE(driven.core.counts().preemptions == 1);
  REQUIRE(ids_of(driven.step().plan) == id_list{3, 1});
  driven.drain();
}

TEST_CASE("a request alone gets through with exactly its blocks, whatever its n", "[schedule]") {
  auto limits = small_limits();
  limits.block_count = 10;
  for (const bool caching : {false, true}) {
    limits.enable_prefix_caching = caching;
    driven_scheduler driven(limits);
    driven.submit(1, {.prompt = 13, .max_tokens = 28, .n = 5});
    driven.drain();
    REQUIRE(driven.core.counts().preemptions > 0);
  }
}

TEST_CASE("small requests that keep coming do not starve a large one", "[schedule]") {
  auto limits = small_limits();
  limits.block_count = 40;
  driven_scheduler driven(limits);
  std::uint64_t id = 100;
  const auto keep_busy = [&] {
    while (driven.core.counts().waiting[to_index(lane::realtime)] < 8) {
      driven.submit(id++, {.prompt = 6, .max_tokens = 12});
    }
  };
  keep_busy();
  for (int i = 0; i < 20; ++i) {
    driven.step();
    keep_busy();
  }
  driven.submit(1, {.prompt = 130, .max_tokens = 20});  // nearly the whole pool
  int steps = 0;
  for (; !driven.truth.at(request_id{1}).is_done(); ++steps) {
    REQUIRE(steps < 200);
    driven.step();
    keep_busy();
  }
  WARN("a request of nearly the whole pool, behind a steady stream of small ones: " << steps
                                                                                    << " steps");
  driven.drain();
}

TEST_CASE("async work gets on beside realtime work that leaves room", "[schedule]") {
  driven_scheduler driven(small_limits());
  driven.submit(1, {.prompt = 100, .max_tokens = 50, .service = lane::async});
  std::uint64_t id = 100;
  int steps = 0;
  for (; !driven.truth.at(request_id{1}).is_done(); ++steps) {
    REQUIRE(steps < 200);
    if (steps % 2 == 0) driven.submit(id++, {.prompt = 20, .max_tokens = 6});
    driven.step();
  }
  driven.drain();
}
