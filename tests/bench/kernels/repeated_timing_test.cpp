// The statistics of repeated timings, against values worked out by hand, and the timing of a body
// whose number of calls can be counted.
#include "bench/kernels/repeated_timing.hpp"

#include <thread>
#include <vector>

#include <catch2/catch.hpp>

namespace {

using namespace troupe::bench;

TEST_CASE("the median is the middle value or the mean of the middle two") {
  CHECK(median(std::vector{3.0}) == 3.0);
  CHECK(median(std::vector{9.0, 1.0, 2.0}) == 2.0);
  CHECK(median(std::vector{4.0, 1.0, 100.0, 2.0}) == 3.0);
}

TEST_CASE("the spread is half of the middle half's range over the median") {
  CHECK(relative_spread(std::vector{5.0, 5.0, 5.0}) == 0.0);
  CHECK(relative_spread(std::vector{1.0, 2.0, 3.0, 4.0, 5.0}) == Approx(1.0 / 3.0));
  // One disturbed sample among many does not count.
  CHECK(relative_spread(std::vector{2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 900.0}) == 0.0);
}

TEST_CASE("a timing has its samples and calls its body for all of them") {
  std::size_t calls = 0;
  const auto timing = time_repeatedly({.seconds = 0.0, .samples_min = 4}, [&] {
    ++calls;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  CHECK(timing.sample_count == 4);
  CHECK(calls == 2 + 4);  // the first is not measured, the second chooses the calls of a sample
  CHECK(timing.best_seconds >= 1e-3);
  CHECK(timing.median_seconds >= timing.best_seconds);
}

TEST_CASE("a short body is called many times a sample") {
  std::size_t calls = 0;
  const auto timing = time_repeatedly({.seconds = 0.0, .samples_min = 1}, [&] { ++calls; });
  CHECK(timing.sample_count == 1);
  CHECK(calls > 10);
}

TEST_CASE("bodies in turn are called alternately and timed apart") {
  std::vector<int> calls;
  const std::function<void()> bodies[] = {
      [&] { calls.push_back(0); },
      [&] {
        calls.push_back(1);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }};
  const auto timings = time_in_turn({.seconds = 0.0, .samples_min = 3}, bodies);
  CHECK(calls == std::vector{0, 1, 0, 1, 0, 1, 0, 1});
  REQUIRE(timings.size() == 2);
  CHECK(timings[0].sample_count == 3);
  CHECK(timings[1].best_seconds >= 1e-3);
}

}  // namespace
