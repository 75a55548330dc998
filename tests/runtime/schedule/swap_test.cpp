// Proves that what preempted sequences lost comes back from the lower tier, generated tokens
// included, where that is predicted to cost less than computing it; that those which come next lose
// their blocks last; and that nobody waits for the tier longer than its deadline.
#include <algorithm>

#include "config/limits.hpp"
#include "tests/runtime/schedule/driven_scheduler.hpp"
#include "tests/runtime/schedule/fake_lower_tier.hpp"

using namespace troupe;
using namespace troupe::test;

namespace {

/// A scheduler and a tier that answers at once, with what the steps before offloaded.
struct swapping_scheduler {
  explicit swapping_scheduler(const scheduler_limits& limits) : driven(limits) {}

  void answer(const std::vector<sequence_id>& wanted) {
    for (const sequence_id id : wanted)
      driven.core.offer_blocks(id, tier.find(driven.core.block_keys_of(id)));
    driven.core.check_integrity();
  }
  void finish(const step_plan& plan) {
    const auto result = driven.engine.run(plan, driven.truth);
    receive(driven.core.complete(result, driven.now), driven.truth);
    tier.take(result);
    driven.core.check_integrity();
  }
  scheduler_core::planned step() {
    auto planned = driven.plan();
    question_count += planned.wanted.size();
    answer(planned.wanted);
    finish(planned.plan);
    return planned;
  }
  void drain() {
    for (int i = 0; driven.core.has_work(); ++i) {
      REQUIRE(i < 1'000);
      step();
    }
    for (const auto& [id, each] : driven.truth) REQUIRE(each.is_done());
  }
  [[nodiscard]] std::uint64_t came_back(preemption_kind kind) const {
    return driven.core.counts().preemptions_by_kind[static_cast<std::size_t>(kind)];
  }
  [[nodiscard]] std::uint32_t cached_of(std::uint64_t id) {
    const auto& expected = driven.truth.at(request_id{id});
    std::vector<token_id> tokens = *expected.request.prompt;
    const auto& sequence = expected.sequences[0];
    tokens.insert(tokens.end(), sequence.naive.tokens.begin(),
                  sequence.naive.tokens.begin() + static_cast<std::ptrdiff_t>(sequence.emitted));
    return driven.core.cached_prefix_blocks(0, {tokens, {}});
  }

  driven_scheduler driven;
  fake_lower_tier tier;
  std::uint64_t question_count = 0;
};

}  // namespace

TEST_CASE("a preempted sequence comes back with its generated tokens", "[schedule][offload]") {
  swapping_scheduler made(offload_limits());
  // Nine blocks each, of twelve.
  made.driven.submit(1, {.prompt = 8, .max_tokens = 28});
  made.driven.submit(2, {.prompt = 8, .max_tokens = 28});
  made.drain();
  const auto counts = made.driven.core.counts();
  REQUIRE(counts.preemptions == 1);
  REQUIRE(made.came_back(preemption_kind::swapped) == 1);
  REQUIRE(counts.uploaded_blocks >= 3);  // more than the prompt's two
  REQUIRE(counts.recomputed_tokens < 4);
  REQUIRE(counts.dropped_blocks == 0);
}

TEST_CASE("a slow tier is not used: the sequence is recomputed", "[schedule][offload]") {
  auto limits = offload_limits();
  limits.initial_transfer = {.offload_block_ms = 100.0, .upload_block_ms = 100.0};
  swapping_scheduler made(limits);
  made.driven.submit(1, {.prompt = 8, .max_tokens = 28});
  made.driven.submit(2, {.prompt = 8, .max_tokens = 28});
  made.drain();
  const auto counts = made.driven.core.counts();
  REQUIRE(made.came_back(preemption_kind::recomputed) == 1);
  REQUIRE(counts.offloaded_blocks == 0);
  REQUIRE(counts.dropped_blocks > 0);
  REQUIRE(made.question_count == 0);
}

TEST_CASE("a tier that turns out slow is used no more", "[schedule][offload]") {
  swapping_scheduler made(offload_limits());
  made.driven.engine.block_move_ms = 50.0;
  for (std::uint64_t id = 1; id < 12; ++id) made.driven.submit(id, {.prompt = 8, .max_tokens = 28});
  made.drain();
  const auto counts = made.driven.core.counts();
  REQUIRE(made.driven.core.transfers().offload_block_ms > 0.3);
  REQUIRE(counts.offloaded_blocks > 0);
  REQUIRE(counts.dropped_blocks > counts.offloaded_blocks);
}

TEST_CASE("an offer that costs more than computing is left alone", "[schedule][offload]") {
  auto limits = offload_limits();
  limits.initial_transfer = {.offload_block_ms = 1e-6, .upload_block_ms = 100.0};
  driven_scheduler driven(limits);
  const auto request = driven.make(1, {.prompt = 20, .max_tokens = 2});
  driven.submit(request);
  std::vector<offered_block> offers;
  for (const auto& key : driven.core.block_keys_of({request.id, 0}))
    offers.push_back(
        {key->place(), key, std::make_shared<const std::vector<std::byte>>(std::size_t{1})});
  REQUIRE(driven.core.offer_blocks({request.id, 0}, offers));
  const auto planned = driven.step();
  REQUIRE(planned.plan.uploads.empty());
  REQUIRE(planned.plan.token_count() == 20);
  driven.drain();
}

TEST_CASE("moving blocks takes a part of the step's duration at most", "[schedule][offload]") {
  auto limits = offload_limits();
  limits.initial_transfer = {.offload_block_ms = 0.2, .upload_block_ms = 0.2};
  limits.step_ms_max = 2;
  limits.vip_step_ms_max = 2;
  swapping_scheduler made(limits);
  const auto most = static_cast<std::size_t>(2 * troupe::limits::transfer_share / 0.2);
  for (std::uint64_t id = 1; id < 30; ++id) made.driven.submit(id, {.prompt = 36, .max_tokens = 2});
  // A request beside others, so that steps are not those of a lone prompt.
  for (int i = 0; made.driven.core.has_work(); ++i) {
    REQUIRE(i < 1'000);
    const auto counts = made.driven.core.counts();
    const bool is_alone = counts.running_sequences + counts.waiting[1] == 1;
    const auto planned = made.step();
    if (!is_alone) REQUIRE(planned.plan.offloads.size() + planned.plan.uploads.size() <= most);
  }
  REQUIRE(made.driven.core.counts().offloaded_blocks > 0);
}

TEST_CASE("sequences of one request come back one by one", "[schedule][offload]") {
  auto limits = offload_limits();
  limits.block_count = 14;
  swapping_scheduler made(limits);
  made.driven.submit(1, {.prompt = 9, .max_tokens = 26});
  made.driven.submit(2, {.prompt = 9, .max_tokens = 20, .n = 3});
  made.drain();
  REQUIRE(made.driven.core.counts().preemptions >= 3);
  REQUIRE(made.came_back(preemption_kind::swapped) >= 1);
}

namespace {

/// Request 1 decodes, request 2 was preempted by a VIP that took its blocks and is done.
struct after_vip {
  static scheduler_limits limits() {
    auto limits = offload_limits();
    limits.block_count = 24;
    limits.max_model_len = 80;
    return limits;
  }
  after_vip() : made(limits()) {
    made.driven.submit(1, {.prompt = 4, .max_tokens = 60});
    made.driven.submit(2, {.prompt = 40, .max_tokens = 20, .service = lane::async});
    for (int i = 0; i < 3; ++i) made.step();
    made.driven.submit(3, {.prompt = 60, .max_tokens = 1, .service = lane::vip});
    made.step();
    REQUIRE(made.driven.core.counts().preemptions == 1);
    REQUIRE(made.driven.core.counts().waiting[to_index(lane::async)] == 1);
    REQUIRE(made.cached_of(2) < 10);
  }
  [[nodiscard]] bool is_waiting() const {
    return made.driven.core.counts().waiting[to_index(lane::async)] == 1;
  }

  swapping_scheduler made;
};

}  // namespace

TEST_CASE("a sequence waits one short step for its blocks, and uploads them",
          "[schedule][offload]") {
  after_vip state;
  const auto asking = state.made.step();
  REQUIRE(asking.wanted == std::vector<sequence_id>{{request_id{2}, 0}});
  REQUIRE(state.is_waiting());
  const auto planned = state.made.step();
  REQUIRE(!state.is_waiting());
  REQUIRE(!planned.plan.uploads.empty());
  REQUIRE(state.made.came_back(preemption_kind::swapped) == 1);
  state.made.drain();
}

TEST_CASE("a tier that does not answer holds a sequence up to its deadline",
          "[schedule][offload]") {
  after_vip state;
  driven_scheduler& driven = state.made.driven;
  REQUIRE(driven.step().wanted.size() == 1);
  REQUIRE(state.is_waiting());
  driven.now += std::chrono::milliseconds{troupe::limits::kv_fetch_ms_max / 2};
  driven.step();
  REQUIRE(state.is_waiting());
  driven.now += std::chrono::milliseconds{troupe::limits::kv_fetch_ms_max / 2};
  const auto planned = driven.step();
  REQUIRE(!state.is_waiting());
  REQUIRE(planned.plan.uploads.empty());
  driven.drain();
}

TEST_CASE("an empty answer ends the wait", "[schedule][offload]") {
  after_vip state;
  driven_scheduler& driven = state.made.driven;
  const auto asking = driven.plan();
  REQUIRE(!driven.core.offer_blocks(asking.wanted.at(0), {}));
  driven.finish(asking.plan);
  driven.step();
  REQUIRE(!state.is_waiting());
  driven.drain();
}

TEST_CASE("a long step is not waited for", "[schedule][offload]") {
  auto limits = after_vip::limits();
  limits.initial_cost.step_ms = troupe::limits::kv_fetch_ms_max;
  swapping_scheduler made(limits);
  made.driven.submit(1, {.prompt = 4, .max_tokens = 60});
  made.driven.submit(2, {.prompt = 40, .max_tokens = 20, .service = lane::async});
  for (int i = 0; i < 3; ++i) made.step();
  made.driven.submit(3, {.prompt = 60, .max_tokens = 1, .service = lane::vip});
  made.step();
  REQUIRE(made.driven.step().wanted.size() == 1);
  REQUIRE(made.driven.core.counts().waiting[to_index(lane::async)] == 0);
  made.drain();
}

TEST_CASE("who comes next keeps its cached blocks longest", "[schedule][offload]") {
  auto limits = offload_limits();
  limits.block_count = 30;
  limits.max_model_len = 120;
  limits.max_num_seqs = 2;
  swapping_scheduler made(limits);
  made.driven.submit(1, {.prompt = 40, .max_tokens = 60});
  made.driven.submit(2, {.prompt = 40, .max_tokens = 20, .service = lane::async});
  for (int i = 0; i < 3; ++i) made.step();
  // The first VIP takes the seat and leaves more recent blocks, the second one keeps the seat.
  made.driven.submit(3, {.prompt = 40, .max_tokens = 2, .service = lane::vip});
  made.driven.submit(4, {.prompt = 4, .max_tokens = 40, .service = lane::vip});
  for (int i = 0; i < 3; ++i) made.step();
  REQUIRE(made.driven.core.counts().waiting[to_index(lane::async)] == 1);
  const std::uint32_t kept = made.cached_of(2);
  const std::uint32_t others = made.cached_of(3);
  REQUIRE(kept >= 8);
  REQUIRE(others >= 8);
  for (int i = 0; i < 16; ++i) made.step();
  REQUIRE(made.driven.core.counts().waiting[to_index(lane::async)] == 1);
  REQUIRE(made.cached_of(2) == kept);
  REQUIRE(made.cached_of(3) < others);
  made.drain();
}
