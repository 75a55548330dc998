// Proves that each request leaves exactly once: with its answer, at its deadline, or cancelled; in
// order, whatever happened to those before it.
#include "runtime/schedule/block_fetches.hpp"

#include <map>
#include <random>

#include <catch2/catch.hpp>

using namespace troupe;

namespace {

schedule_request make(std::uint64_t id, std::size_t sequences = 0) {
  schedule_request request;
  request.id = static_cast<request_id>(id);
  request.resumed.resize(sequences);
  return request;
}

}  // namespace

TEST_CASE("block_fetches agrees with a naive list", "[schedule]") {
  std::mt19937 random(3);
  block_fetches fetches(monotonic_time{10});
  std::map<request_id, monotonic_time> naive;  // id to deadline; ids ascend with time
  monotonic_time now{100};
  std::uint64_t next = 1, expired = 0;
  for (int step = 0; step < 20'000; ++step) {
    now += monotonic_time{random() % 3};
    const auto id = static_cast<request_id>(1 + random() % next);
    switch (random() % 4) {
      case 0:
        fetches.begin(make(next), now);
        naive[static_cast<request_id>(next++)] = now + monotonic_time{10};
        break;
      case 1: {
        const auto done = fetches.finish(id);
        REQUIRE(done.has_value() == (naive.erase(id) == 1));
        if (done) REQUIRE(done->id == id);
        break;
      }
      case 2: REQUIRE(fetches.cancel(id) == (naive.erase(id) == 1)); break;
      default:
        for (const auto& late : fetches.expire(now)) {
          REQUIRE(late.id == naive.begin()->first);
          REQUIRE(naive.begin()->second <= now);
          naive.erase(naive.begin());
          ++expired;
        }
        if (!naive.empty()) REQUIRE(naive.begin()->second > now);
    }
    REQUIRE(fetches.size() == naive.size());
    REQUIRE(fetches.next_deadline().has_value() == !naive.empty());
    if (!naive.empty()) REQUIRE(*fetches.next_deadline() == naive.begin()->second);
  }
  REQUIRE(expired > 100);
}

TEST_CASE("a request that comes back keeps its own deadline", "[schedule]") {
  block_fetches fetches(monotonic_time{10});
  fetches.begin(make(1), monotonic_time{0});
  REQUIRE(fetches.cancel(request_id{1}));
  fetches.begin(make(1), monotonic_time{5});
  REQUIRE(fetches.expire(monotonic_time{10}).empty());
  REQUIRE(fetches.expire(monotonic_time{15}).size() == 1);
}

TEST_CASE("the last sequence that is stopped ends a fetch", "[schedule]") {
  block_fetches fetches(monotonic_time{10});
  fetches.begin(make(1, 2), monotonic_time{0});
  REQUIRE(!fetches.stop_sequence({request_id{1}, 2}));
  REQUIRE(fetches.stop_sequence({request_id{1}, 0}));
  REQUIRE(!fetches.stop_sequence({request_id{1}, 0}));
  REQUIRE(fetches.size() == 1);
  REQUIRE(fetches.stop_sequence({request_id{1}, 1}));
  REQUIRE(fetches.size() == 0);
  REQUIRE(!fetches.stop_sequence({request_id{1}, 1}));
}
