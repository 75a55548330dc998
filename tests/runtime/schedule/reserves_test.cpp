// Proves what lanes are sure of in blocks: within its reserve of sequences and blocks a lane
// displaces those below; of blocks a displaced lane keeps its own part; and growth beyond a lane's
// part takes from the lane itself first.
#include "tests/runtime/schedule/driven_scheduler.hpp"

using namespace troupe;
using namespace troupe::test;
using id_list = std::vector<std::uint64_t>;

namespace {

scheduler_limits reserve_limits(double vip, double realtime) {
  auto limits = small_limits();
  limits.lanes[to_index(lane::vip)].reserved_fraction = vip;
  limits.lanes[to_index(lane::realtime)].reserved_fraction = realtime;
  limits.block_count = 32;
  limits.max_num_batched_tokens = 256;
  return limits;
}

std::uint32_t waiting(const driven_scheduler& driven, lane service) {
  return driven.core.counts().waiting[to_index(service)];
}

}  // namespace

TEST_CASE("a VIP within its reserve of blocks displaces realtime, beyond it waits",
          "[schedule][lanes]") {
  driven_scheduler driven(reserve_limits(0.5, 0.0));
  driven.submit(1, {.prompt = 32, .max_tokens = 8});
  driven.submit(2, {.prompt = 32, .max_tokens = 8});
  driven.step();
  driven.step();
  driven.submit(3, {.prompt = 60, .max_tokens = 4, .service = lane::vip});  // 15 of its 16 blocks
  REQUIRE(ids_of(driven.step().plan) == id_list{3, 1});
  driven.submit(4, {.prompt = 56, .max_tokens = 4, .service = lane::vip});
  REQUIRE(ids_of(driven.step().plan) == id_list{3, 1});
  REQUIRE(driven.core.counts().preemptions == 1);
  driven.drain();
}

TEST_CASE("beyond its reserve of blocks a VIP still displaces async", "[schedule][lanes]") {
  driven_scheduler driven(reserve_limits(0.25, 0.0));
  driven.submit(1, {.prompt = 64, .max_tokens = 8, .service = lane::async});
  driven.step();
  driven.submit(2, {.prompt = 80, .max_tokens = 4, .service = lane::vip});
  REQUIRE(ids_of(driven.step().plan) == id_list{2});
  driven.drain();
}

TEST_CASE("of blocks a displaced lane keeps what it is sure of", "[schedule][lanes]") {
  driven_scheduler driven(reserve_limits(0.5, 0.5));
  for (std::uint64_t id = 1; id <= 3; ++id) driven.submit(id, {.prompt = 30, .max_tokens = 8});
  driven.step();
  driven.submit(4, {.prompt = 52, .max_tokens = 1, .service = lane::vip});  // 13 blocks, 8 are free
  REQUIRE(ids_of(driven.step().plan) == id_list{4, 1, 2});
  REQUIRE(waiting(driven, lane::realtime) == 1);
  driven.drain();

  // Two realtime requests hold 16 blocks, all that the lane is sure of.
  driven_scheduler sure(reserve_limits(0.6, 0.5));
  sure.submit(1, {.prompt = 30, .max_tokens = 3});
  sure.submit(2, {.prompt = 30, .max_tokens = 3});
  sure.step();
  sure.submit(4, {.prompt = 72, .max_tokens = 1, .service = lane::vip});  // 18 blocks, 16 are free
  REQUIRE(ids_of(sure.step().plan) == id_list{1, 2});
  REQUIRE(sure.core.counts().preemptions == 0);
  sure.drain();
}

TEST_CASE("a lane with few sequences and many blocks can be displaced for blocks",
          "[schedule][lanes]") {
  driven_scheduler driven(reserve_limits(0.5, 0.25));
  driven.submit(1, {.prompt = 56, .max_tokens = 8});  // two of the four seats that it is sure of
  driven.submit(2, {.prompt = 56, .max_tokens = 8});
  driven.step();
  driven.submit(3, {.prompt = 40, .max_tokens = 1, .service = lane::vip});
  REQUIRE(ids_of(driven.step().plan) == id_list{3, 1});
  driven.drain();
}

TEST_CASE("VIPs that grow beyond their reserve take from each other first", "[schedule][lanes]") {
  auto limits = reserve_limits(0.25, 0.5);
  limits.block_count = 24;
  driven_scheduler driven(limits);
  driven.submit(1, {.prompt = 40, .max_tokens = 8});  // 12 blocks in the end: its reserve
  driven.submit(2, {.prompt = 20, .max_tokens = 30, .service = lane::vip});
  driven.submit(3, {.prompt = 20, .max_tokens = 30, .service = lane::vip});
  while (!driven.truth.at(request_id{1}).is_done()) {
    driven.step();
    REQUIRE(waiting(driven, lane::realtime) == 0);
  }
  REQUIRE(driven.core.counts().preemptions > 0);
  driven.drain();
}

TEST_CASE("the first VIP gets on, whoever is sure of the blocks", "[schedule][lanes]") {
  auto limits = reserve_limits(0.25, 0.5);
  limits.block_count = 24;
  driven_scheduler driven(limits);
  driven.submit(1, {.prompt = 40, .max_tokens = 8});
  driven.submit(2, {.prompt = 40, .max_tokens = 30, .service = lane::vip});
  while (!driven.truth.at(request_id{2}).is_done()) {
    driven.step();
    REQUIRE(waiting(driven, lane::vip) == 0);
  }
  driven.drain();
}
