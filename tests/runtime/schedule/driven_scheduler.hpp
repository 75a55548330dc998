// A scheduler with the fake engine behind it, for tests of one behaviour at a time: short ways to
// write requests, single steps that can be looked at, and every check of fake_engine.hpp on the
// way.
#pragma once

#include <memory>

#include "tests/runtime/schedule/fake_engine.hpp"

namespace troupe::test {

inline scheduler_limits small_limits() {
  scheduler_limits limits;
  limits.max_model_len = 256;
  limits.max_num_seqs = 16;
  limits.max_num_batched_tokens = 64;
  limits.max_batch_size = 8;
  limits.max_num_queued_reqs = 64;
  limits.block_tokens = 4;
  limits.block_count = 256;
  return limits;
}

/// So few blocks that some are evicted, with a lower tier below.
inline scheduler_limits offload_limits() {
  scheduler_limits limits = small_limits();
  limits.block_count = 12;
  limits.max_model_len = 40;
  limits.enable_offload = true;
  return limits;
}

/// Steps that cost what their rows do, and next to nothing else but step_ms.
inline cost_profile row_costs(double row_ms, double step_ms = 1e-9) {
  constexpr double nothing = 1e-9;
  return {.step_ms = step_ms,
          .row_tile_ms = nothing,
          .row_ms = row_ms,
          .logit_row_ms = nothing,
          .decode_pair_us = nothing,
          .prefill_pair_us = nothing};
}

/// A prompt of its own tokens: two prompts with different seeds share no prefix.
inline std::vector<token_id> make_prompt(std::size_t count, unsigned seed) {
  std::vector<token_id> prompt;
  std::uint64_t hash = mix(0, seed);
  for (std::size_t i = 0; i < count; ++i) {
    hash = mix(hash, i);
    prompt.push_back(static_cast<token_id>(hash % 1'000'000));
  }
  return prompt;
}

struct request_shape {
  std::size_t prompt = 8;
  std::uint32_t max_tokens = 4;
  lane service = lane::realtime;
  std::uint32_t n = 1;
};

class driven_scheduler {
 public:
  explicit driven_scheduler(scheduler_limits given) : limits(given), core(given), engine(given) {}

  schedule_request make(std::uint64_t id, request_shape shape) {
    generation_params params;
    params.n = shape.n;
    params.stopping.max_tokens = shape.max_tokens;
    params.stopping.ignore_eos = true;
    schedule_request request;
    request.id = static_cast<request_id>(id);
    request.service = shape.service;
    request.prompt = std::make_shared<const std::vector<token_id>>(
        make_prompt(shape.prompt, static_cast<unsigned>(id)));
    request.params = std::make_shared<const generation_params>(params);
    request.arrival = now += std::chrono::nanoseconds(1);
    return request;
  }
  void submit(schedule_request request) {
    auto expected = expect(request, limits);
    core.enqueue(std::move(request), now).value();
    core.check_integrity();
    truth.insert_or_assign(expected.request.id, std::move(expected));
  }
  void submit(std::uint64_t id, request_shape shape) { submit(make(id, shape)); }
  void cancel(request_id id) {
    core.cancel(id);
    truth.at(id).cancelled = true;
  }

  scheduler_core::planned plan() {
    auto planned = core.plan(now += std::chrono::nanoseconds(1));
    core.check_integrity();
    return planned;
  }
  step_outcome finish(const step_plan& plan) {
    auto outcome = core.complete(engine.run(plan, truth), now);
    core.check_integrity();
    receive(outcome, truth);
    return outcome;
  }
  /// One whole step; what was planned.
  scheduler_core::planned step() {
    auto planned = plan();
    if (!planned.plan.slices.empty()) finish(planned.plan);
    return planned;
  }
  void drain() {
    for (int i = 0; core.has_work(); ++i) {
      REQUIRE(i < 10'000);
      REQUIRE(!step().plan.slices.empty());
    }
    for (const auto& [id, each] : truth) REQUIRE(each.is_done());
    REQUIRE(core.counts().blocks_referenced == 0);
  }

  scheduler_limits limits;
  scheduler_core core;
  fake_engine engine;
  expectations truth;
  monotonic_time now{1000};
};

/// The requests of a plan, in its order.
inline std::vector<std::uint64_t> ids_of(const step_plan& plan) {
  std::vector<std::uint64_t> ids;
  for (const auto& slice : plan.slices)
    ids.push_back(static_cast<std::uint64_t>(slice.sequence.request));
  return ids;
}

inline std::vector<std::uint64_t> ids_of(const std::vector<request_started>& started) {
  std::vector<std::uint64_t> ids;
  for (const auto& each : started) ids.push_back(static_cast<std::uint64_t>(each.id));
  return ids;
}

}  // namespace troupe::test
