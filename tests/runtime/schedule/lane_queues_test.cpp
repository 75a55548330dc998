// Proves that the queues keep lanes apart and their order under random insertion and removal.
#include "runtime/schedule/lane_queues.hpp"

#include <algorithm>
#include <memory>
#include <random>

#include <catch2/catch.hpp>

#include "runtime/schedule/request_state.hpp"

using namespace troupe;

TEST_CASE("lane_queues agrees with a sorted list", "[schedule]") {
  const unsigned seed = 31337;
  INFO("seed " << seed);
  std::mt19937 random(seed);
  lane_queues queues;
  std::vector<std::unique_ptr<request_state>> waiting;
  for (std::uint64_t step = 0; step < 20'000; ++step) {
    if (waiting.size() < 50 && random() % 2 == 0) {
      auto request = std::make_unique<request_state>();
      request->request.service = all_lanes[random() % 3];
      request->key = {.fresh = random() % 4 != 0,
                      .priority = static_cast<std::int32_t>(random() % 3),
                      .due_window = static_cast<std::int64_t>(random() % 2),
                      .window_cost = random() % 3,
                      .due = monotonic_time(random() % 5),
                      .arrival = monotonic_time(random() % 5),
                      .cost = random() % 5,
                      .order = step};
      queues.insert(*request);
      waiting.push_back(std::move(request));
    } else if (!waiting.empty()) {
      std::swap(waiting[random() % waiting.size()], waiting.back());
      REQUIRE(queues.contains(*waiting.back()));
      queues.erase(*waiting.back());
      REQUIRE(!queues.contains(*waiting.back()));
      waiting.pop_back();
    }
    REQUIRE(queues.size() == waiting.size());
    for (const lane service : all_lanes) {
      const request_state* first = nullptr;
      for (const auto& each : waiting) {
        if (each->service() == service && (first == nullptr || each->key < first->key))
          first = each.get();
      }
      REQUIRE(queues.front(service) == first);
    }
  }
}
