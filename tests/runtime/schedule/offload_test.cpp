// Proves when blocks leave for the lower tier and when what it offers is used: only where the
// device lacks it, from the first missing block on without a hole, never the last prompt token,
// within the bound of a step, and not after the request has begun.
#include "tests/runtime/schedule/driven_scheduler.hpp"
#include "tests/runtime/schedule/fake_lower_tier.hpp"

using namespace troupe;
using namespace troupe::test;

namespace {

/// A scheduler whose device has computed and then evicted the prompt of request `id`, 20 tokens.
struct after_eviction {
  explicit after_eviction(const scheduler_limits& limits) : scheduler(limits) {
    const auto run = [&](std::uint64_t id, std::size_t prompt) {
      scheduler.submit(id, {.prompt = prompt, .max_tokens = 2});
      while (scheduler.core.has_work()) {
        auto planned = scheduler.plan();
        const auto result = scheduler.engine.run(planned.plan, scheduler.truth);
        tier.take(result);
        receive(scheduler.core.complete(result, scheduler.now), scheduler.truth);
        scheduler.core.check_integrity();
      }
    };
    run(1, 20);
    run(2, 38);
    run(3, 38);
  }
  /// The prompt of request 1 once more, under another id.
  schedule_request again(std::uint64_t id) {
    auto request = scheduler.make(1, {.prompt = 20, .max_tokens = 2});
    request.id = static_cast<request_id>(id);
    return request;
  }

  driven_scheduler scheduler;
  fake_lower_tier tier;
};

}  // namespace

TEST_CASE("offered blocks are uploaded and not computed", "[schedule][offload]") {
  after_eviction made(offload_limits());
  const auto request = made.again(9);
  REQUIRE(made.scheduler.core.cached_prefix_blocks(0, {*request.prompt, {}}) == 0);
  made.scheduler.submit(request);
  const auto offers = made.tier.find(request, made.scheduler.limits);
  REQUIRE(offers.size() == 4);  // of five full blocks: the last holds the last token
  REQUIRE(made.scheduler.core.offer_blocks({request.id, 0}, offers));
  REQUIRE(made.scheduler.core.counts().offered_blocks == 4);
  const auto planned = made.scheduler.step();
  REQUIRE(planned.plan.uploads.size() == 4);
  REQUIRE(planned.started.at(0).cached_tokens == 16);
  REQUIRE(planned.plan.slices.at(0).tokens.size() == 4);
  REQUIRE(made.scheduler.core.counts().uploaded_blocks == 4);
  REQUIRE(made.scheduler.core.counts().offered_blocks == 0);
  // In the index like computed ones.
  REQUIRE(made.scheduler.core.cached_prefix_blocks(0, {*request.prompt, {}}) == 4);
  REQUIRE(!made.scheduler.core.offer_blocks({request.id, 0}, offers));  // it has begun
  made.scheduler.drain();
}

TEST_CASE("a hole ends the run of uploads", "[schedule][offload]") {
  after_eviction made(offload_limits());
  const auto request = made.again(9);
  made.scheduler.submit(request);
  auto offers = made.tier.find(request, made.scheduler.limits);
  offers.erase(offers.begin() + 2);
  REQUIRE(made.scheduler.core.offer_blocks({request.id, 0}, offers));
  REQUIRE(made.scheduler.step().plan.uploads.size() == 2);
  made.scheduler.drain();
}

TEST_CASE("a step uploads at most its bound", "[schedule][offload]") {
  auto limits = offload_limits();
  limits.max_uploads_per_step = 3;
  after_eviction made(limits);
  const auto request = made.again(9);
  made.scheduler.submit(request);
  REQUIRE(made.scheduler.core.offer_blocks({request.id, 0}, made.tier.find(request, limits)));
  const auto planned = made.scheduler.step();
  REQUIRE(planned.plan.uploads.size() == 3);
  REQUIRE(planned.started.at(0).cached_tokens == 12);
  made.scheduler.drain();
}

TEST_CASE("what the device has is not uploaded", "[schedule][offload]") {
  after_eviction made(offload_limits());
  const auto first = made.again(9);
  const auto offers = made.tier.find(first, made.scheduler.limits);
  made.scheduler.submit(first);
  made.scheduler.drain();  // recomputed without an offer
  const auto second = made.again(10);
  made.scheduler.submit(second);
  REQUIRE(made.scheduler.core.offer_blocks({second.id, 0}, offers));
  const auto planned = made.scheduler.step();
  REQUIRE(planned.plan.uploads.empty());
  REQUIRE(planned.started.at(0).cached_tokens == 16);
  made.scheduler.drain();
}

TEST_CASE("offers are dropped when the request ends", "[schedule][offload]") {
  after_eviction made(offload_limits());
  const auto request = made.again(9);
  made.scheduler.submit(request);
  REQUIRE(made.scheduler.core.offer_blocks({request.id, 0},
                                           made.tier.find(request, made.scheduler.limits)));
  made.scheduler.truth.at(request.id).cancelled = true;
  REQUIRE(made.scheduler.core.cancel(request.id));
  made.scheduler.core.check_integrity();
  REQUIRE(made.scheduler.core.counts().offered_blocks == 0);
  REQUIRE(!made.scheduler.core.offer_blocks({request.id, 0}, {}));
}

TEST_CASE("with the tier off nothing is offloaded and no offer is taken", "[schedule][offload]") {
  auto limits = offload_limits();
  limits.enable_offload = false;
  after_eviction made(limits);
  REQUIRE(made.tier.size() == 0);
  REQUIRE(made.scheduler.core.counts().offloaded_blocks == 0);
  const auto request = made.again(9);
  made.scheduler.submit(request);
  std::vector<offered_block> offers;
  const auto keys = block_keys_of(limits.model_fingerprint, 0, {*request.prompt, {}}, 4);
  offers.push_back({0, keys[0], std::make_shared<const std::vector<std::byte>>()});
  REQUIRE(!made.scheduler.core.offer_blocks({request.id, 0}, offers));
  made.scheduler.drain();
}
