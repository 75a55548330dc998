// What is said about waiting, against steps and requests made by hand: who is held although there
// is room, for how long, and who was overtaken by whom.
#include "runtime/simulate/waiting_watch.hpp"

#include <catch2/catch.hpp>

using namespace troupe;
using namespace troupe::simulate;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t block_tokens = 16;
constexpr step_room wide{.seats = 1, .starts = 1, .blocks = 100, .first_chunk_tokens = 500};

/// Realtime requests that came 10 ms after each other.
struct waiting_line {
  explicit waiting_line(const std::vector<std::uint32_t>& prompt_tokens)
      : requests(prompt_tokens.size()) {
    result.outcomes.resize(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) {
      requests[i].prompt_tokens = prompt_tokens[i];
      result.outcomes[i].submitted = static_cast<int>(i) * 10ms;
      watch.enqueued(i, lane::realtime);
    }
  }

  void step(const step_room& room, monotonic_time duration) {
    watch.planned(room);
    watch.step_ended(duration);
  }
  [[nodiscard]] std::vector<monotonic_time> held() const {
    std::vector<monotonic_time> made;
    for (const virtual_outcome& each : result.outcomes) made.push_back(each.held);
    return made;
  }

  std::vector<virtual_request> requests;
  virtual_result result;
  waiting_watch watch{requests, block_tokens, result};
};

}  // namespace

TEST_CASE("who waits beside room is held as long as the step runs", "[simulate]") {
  waiting_line line({160, 16, 4});
  line.step(wide, 30ms);
  CHECK(line.held() == std::vector<monotonic_time>{30ms, 30ms, 30ms});
  for (const auto part : {&step_room::seats, &step_room::starts, &step_room::first_chunk_tokens}) {
    step_room full = wide;
    full.*part = 0;
    line.step(full, 30ms);
  }
  CHECK(line.held() == std::vector<monotonic_time>{30ms, 30ms, 30ms});
  // Blocks for the small ones, then time for a chunk of the smallest.
  line.step({.seats = 1, .starts = 1, .blocks = 9, .first_chunk_tokens = 500}, 5ms);
  line.step({.seats = 1, .starts = 1, .blocks = 9, .first_chunk_tokens = 4}, 2ms);
  CHECK(line.held() == std::vector<monotonic_time>{30ms, 35ms, 37ms});
}

TEST_CASE("who has started or ended is not held any more", "[simulate]") {
  waiting_line line({16, 16});
  line.watch.started(0, lane::realtime, 15ms);
  line.watch.ended(1, lane::realtime);
  CHECK_FALSE(line.watch.is_anyone_waiting());
  line.step(wide, 30ms);
  CHECK(line.held() == std::vector<monotonic_time>{0ms, 0ms});
  CHECK(line.result.outcomes[0].started == 15ms);
  CHECK_FALSE(line.result.outcomes[1].started.has_value());
  // One that comes back after a preemption has started before.
  line.watch.started(0, lane::realtime, 99ms);
  CHECK(line.result.outcomes[0].started == 15ms);
}

TEST_CASE("the latest that goes first is what a request is overtaken by", "[simulate]") {
  waiting_line line({16, 16, 16, 16});
  line.watch.started(0, lane::realtime, 50ms);
  CHECK(line.result.overtaken_by_max[to_index(lane::realtime)] == 0ms);
  line.watch.started(3, lane::realtime, 50ms);
  line.watch.started(2, lane::realtime, 60ms);
  line.watch.started(1, lane::realtime, 60ms);
  CHECK(line.result.overtaken_by_max[to_index(lane::realtime)] == 20ms);
}
