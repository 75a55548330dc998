// When a search is due, and how long it may take, on clocks that the test turns.
#include "runtime/schedule/compose/compose_pace.hpp"

#include <catch2/catch.hpp>

#include "runtime/schedule/compose/search_time.hpp"

using namespace troupe;
using namespace std::chrono_literals;

TEST_CASE("a search is due at once, then every interval, one at a time", "[compose]") {
  compose_pace pace(1s);
  CHECK(pace.is_due(5s));
  pace.begin(5s, 40);
  CHECK(!pace.is_due(7s));
  pace.end(100.0);
  CHECK(pace.is_due(6s));
  CHECK(!pace.is_due(5900ms));
}

TEST_CASE("searches that find little become rare, until one finds something or many come",
          "[compose]") {
  compose_pace pace(1s);
  std::chrono::nanoseconds now{};
  for (const auto wait : {1s, 2s, 4s, 8s, 8s}) {
    now += wait;
    CHECK(pace.is_due(now));
    pace.begin(now, 40);
    pace.end(30.0);  // less than searches cost
  }
  CHECK(!pace.is_due(now + 7s));
  for (int i = 0; i < 10; ++i) pace.arrived();
  CHECK(pace.is_due(now + 1s));
  pace.begin(now + 1s, 50);
  pace.end(50.0);
  CHECK(pace.is_due(now + 2s));
}

TEST_CASE("a burst is planned soon after it has come", "[compose]") {
  compose_pace pace(1s);
  pace.begin(0s, 30);
  pace.end(100.0);
  for (int i = 0; i < 29; ++i) pace.arrived();
  CHECK(!pace.is_due(200ms));
  pace.arrived();
  CHECK(!pace.is_due(99ms));
  CHECK(pace.is_due(100ms));
}

TEST_CASE("a search has its processor time, and the wall clock bounds it", "[compose]") {
  std::chrono::nanoseconds cpu = 3s, wall = 70s;
  const std::chrono::nanoseconds longest = limits::compose_wall_ratio_max * 20ms;
  const auto budget = timed_budget([&] { return cpu; }, [&] { return wall; }, 20ms);
  CHECK(budget(0) == 0.0);
  wall += longest / 10;
  cpu += 15ms;
  CHECK(budget(1) == Approx(0.75));
  wall += 8 * longest / 10;  // others had the processor
  CHECK(budget(2) == Approx(0.9));
  cpu += 5ms;
  CHECK(budget(3) == Approx(1.0));
  wall += 6 * longest / 10;
  CHECK(budget(4) == Approx(1.5));
}
