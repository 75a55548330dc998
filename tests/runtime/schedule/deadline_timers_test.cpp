// deadline_timers against a plain list under random operations.
#include "runtime/schedule/deadline_timers.hpp"

#include <algorithm>
#include <map>
#include <random>

#include <catch2/catch.hpp>

namespace troupe {
namespace {

TEST_CASE("deadlines expire soonest first, and ended requests leave nothing behind", "[schedule]") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto below = [&](std::uint32_t bound) { return random() % bound; };
  deadline_timers timers;
  std::map<request_id, monotonic_time> naive;
  monotonic_time now{};
  for (int round = 0; round < 20'000; ++round) {
    const request_id id{below(64)};
    switch (below(4)) {
      case 0:
      case 1: {
        const monotonic_time deadline = now + std::chrono::nanoseconds(below(50));
        timers.set(id, deadline);
        naive[id] = deadline;
        break;
      }
      case 2:
        timers.clear(id);
        naive.erase(id);
        break;
      default: {
        now += std::chrono::nanoseconds(below(20));
        std::vector<std::pair<monotonic_time, request_id>> late;
        for (const auto& [each, deadline] : naive) {
          if (deadline <= now) late.emplace_back(deadline, each);
        }
        std::ranges::sort(late);
        std::vector<request_id> expected;
        for (const auto& [deadline, each] : late) {
          expected.push_back(each);
          naive.erase(each);
        }
        REQUIRE(timers.expire(now) == expected);
      }
    }
    REQUIRE(timers.size() == naive.size());
    const auto soonest =
        std::ranges::min_element(naive, {}, [](const auto& entry) { return entry.second; });
    REQUIRE(timers.next() == (naive.empty() ? std::nullopt : std::optional(soonest->second)));
  }
}

}  // namespace
}  // namespace troupe
