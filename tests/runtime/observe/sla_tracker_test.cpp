// Promises: what attains, what is missed and what does not count, at the edges of each target, and
// the fraction over random requests against a count by hand.
#include "runtime/observe/sla_tracker.hpp"

#include <random>

#include <catch2/catch.hpp>

namespace troupe {
namespace {

using namespace std::chrono_literals;

const lane_config promise{.ttft_ms = 200, .ttft_prompt_tokens = 512, .tpot_ms = 40};

request_facts done(std::uint64_t prompt_tokens, monotonic_time ttft, std::uint64_t output_tokens,
                   monotonic_time after_first) {
  request_facts facts;
  facts.service = lane::vip;
  facts.finish_reason = "stop";
  facts.prompt_tokens = prompt_tokens;
  facts.output_tokens = facts.longest_output = output_tokens;
  facts.arrival = 5s;
  facts.first_token = 5s + ttft;
  facts.end = 5s + ttft + after_first;
  return facts;
}

TEST_CASE("a request attains at its targets, and misses a nanosecond above") {
  CHECK(judge(promise, done(512, 200ms, 11, 400ms)) == sla_verdict::attained);
  CHECK(judge(promise, done(512, 200ms + 1ns, 11, 400ms)) == sla_verdict::missed);
  CHECK(judge(promise, done(512, 200ms, 11, 400ms + 100ns)) == sla_verdict::missed);
  CHECK(judge(promise, done(1, 200ms + 1ns, 1, 0ms)) == sla_verdict::missed);
  CHECK(judge(promise, done(1, 1ms, 1, 0ms)) == sla_verdict::attained);
}

TEST_CASE("longer prompts have in proportion more time") {
  CHECK(judge(promise, done(1024, 400ms, 1, 0ms)) == sla_verdict::attained);
  CHECK(judge(promise, done(1024, 401ms, 1, 0ms)) == sla_verdict::missed);
}

TEST_CASE("a target of zero is none") {
  const lane_config none{};
  CHECK(judge(none, done(1, 1h, 2, 1h)) == sla_verdict::attained);
  const lane_config first_only{.ttft_ms = 10};
  CHECK(judge(first_only, done(1, 10ms, 2, 1h)) == sla_verdict::attained);
  const lane_config rate_only{.tpot_ms = 10};
  CHECK(judge(rate_only, done(1, 1h, 2, 11ms)) == sla_verdict::missed);
}

TEST_CASE("sequences side by side count as the longest of them") {
  request_facts facts = done(10, 50ms, 40, 390ms);
  facts.longest_output = 10;
  CHECK(judge(promise, facts) == sla_verdict::missed);
  facts.longest_output = 11;
  CHECK(judge(promise, facts) == sla_verdict::attained);
}

TEST_CASE("what the server did is missed, what the client did does not count") {
  for (const errc code : {errc::overloaded, errc::out_of_memory, errc::unavailable, errc::internal,
                          errc::deadline_exceeded})
    CHECK(judge_failure(code) == sla_verdict::missed);
  for (const errc code : {errc::aborted, errc::rate_limited, errc::permission_denied,
                          errc::invalid_argument, errc::already_exists, errc::slow_client,
                          errc::not_found, errc::unauthorized, errc::corrupt, errc::unsupported})
    CHECK(judge_failure(code) == sla_verdict::not_counted);
  request_facts facts = done(1, 1ms, 1, 0ms);
  facts.failure = errc::internal;
  CHECK(judge(promise, facts) == sla_verdict::missed);
  facts.failure = errc::aborted;
  CHECK(judge(promise, facts) == sla_verdict::not_counted);
}

TEST_CASE("attainment is the fraction of what counts") {
  sla_tracker tracker;
  CHECK(tracker.attainment(lane::vip) == 1.0);
  std::mt19937 dice(7);
  double attained = 0, counted = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto verdict = static_cast<sla_verdict>(dice() % 3);
    tracker.add(lane::vip, verdict);
    attained += verdict == sla_verdict::attained;
    counted += verdict != sla_verdict::not_counted;
  }
  tracker.add(lane::async, sla_verdict::missed);
  CHECK(tracker.attainment(lane::vip) == attained / counted);
  CHECK(tracker.attainment(lane::async) == 0.0);
  CHECK(tracker.count(lane::async, sla_verdict::missed) == 1);
}

}  // namespace
}  // namespace troupe
