// The order of a load by hand-made times: what is due when, what latencies count from, and that
// every request ends exactly once.
#include "bench/serve/load_run.hpp"

#include <catch2/catch.hpp>

namespace {

using namespace troupe::bench;

load_run make_run(std::vector<double> arrivals_s, std::size_t concurrency_max,
                  bool counts_from_arrival) {
  return load_run({.arrivals_s = std::move(arrivals_s),
                   .concurrency_max = concurrency_max,
                   .counts_from_arrival = counts_from_arrival,
                   .on_ended = {}});
}

}  // namespace

TEST_CASE("a closed loop sends as soon as there is room, and counts from sending") {
  load_run run = make_run({0, 0, 0}, 2, false);
  CHECK(run.take_due(0.1) == 0u);
  CHECK(run.take_due(0.1) == 1u);
  CHECK_FALSE(run.take_due(0.2));
  CHECK_FALSE(run.next_due_s());
  run.on_tokens(0, 1.0, 1);
  run.on_tokens(0, 1.5, 2);
  run.on_end(0, 1.5);
  CHECK(run.take_due(1.6) == 2u);
  CHECK(run.records()[0].ttft_s() == Approx(0.9));
  CHECK(run.records()[0].e2el_s() == Approx(1.4));
  CHECK(run.records()[0].output_tokens == 3);
  CHECK(run.records()[0].tpot_s() == Approx(0.25));
  CHECK(run.records()[2].start_s == Approx(1.6));
  CHECK(run.records()[2].lag_s == Approx(0.1));
}

TEST_CASE("an open loop counts from the arrival, also where the request had to wait for room") {
  load_run run = make_run({1.0, 2.0}, 1, true);
  CHECK_FALSE(run.take_due(0.5));
  CHECK(run.next_due_s() == 1.0);
  CHECK(run.take_due(1.01) == 0u);
  CHECK_FALSE(run.take_due(2.5));
  run.on_tokens(0, 4.0, 1);
  run.on_end(0, 4.0);
  CHECK(run.take_due(4.02) == 1u);
  run.on_tokens(1, 5.0, 1);
  run.on_end(1, 5.0);
  CHECK(run.records()[0].lag_s == Approx(0.01));
  CHECK(run.records()[1].lag_s == Approx(0.02));
  CHECK(run.records()[1].ttft_s() == Approx(3.0));
  CHECK(run.is_done());
  CHECK(run.duration_s() == 5.0);
}

TEST_CASE("a request ends once") {
  load_run run = make_run({0, 0}, 0, false);
  run.take_due(0.0);
  run.take_due(0.0);
  run.on_failure(0, 1.0, "first");
  run.on_failure(0, 2.0, "second");
  run.on_tokens(0, 2.0, 1);
  run.on_end(0, 2.0);
  CHECK(run.records()[0].failure == "first");
  CHECK_FALSE(run.records()[0].is_ok);
  CHECK(run.records()[0].output_tokens == 0);
  CHECK_FALSE(run.is_done());
  run.on_end(1, 3.0);
  CHECK(run.is_done());
  CHECK(run.records()[1].failure == "the answer ended without a token");
}

TEST_CASE("the server's counts replace ours") {
  load_run run = make_run({0}, 0, false);
  run.take_due(0.0);
  run.on_tokens(0, 1.0, 1);
  run.on_usage(0, 11, 4);
  run.on_end(0, 1.0);
  CHECK(run.records()[0].prompt_tokens == 11);
  CHECK(run.records()[0].output_tokens == 4);
}

TEST_CASE("when the server is gone, all that has not ended fails") {
  std::size_t ended = 0;
  load_run run({.arrivals_s = {0, 0, 0, 9},
                .concurrency_max = 2,
                .counts_from_arrival = false,
                .on_ended = [&ended](std::size_t count) { ended = count; }});
  run.take_due(0.0);
  run.take_due(0.0);
  run.on_tokens(0, 0.5, 1);
  run.on_end(0, 0.5);
  run.fail_all(1.0, "gone");
  CHECK(run.is_done());
  CHECK(ended == 4);
  CHECK(run.records()[0].is_ok);
  for (std::size_t i = 1; i < 4; ++i) CHECK(run.records()[i].failure == "gone");
  CHECK_FALSE(run.take_due(10.0));
}
