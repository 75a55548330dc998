// Proves that places are counted, and that whoever gives way is the one that a scan of all
// connections would find.
#include "actors/gateway/http_places.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <random>
#include <utility>

#include <catch2/catch.hpp>

using namespace troupe;
using namespace std::chrono_literals;

namespace {

struct naive_seat {
  http_place place = http_place::ordinary;
  http_places::time_point entered;
  std::optional<http_places::time_point> waits_since;
};

constexpr std::array all_places{http_place::ordinary, http_place::reserve, http_place::important};

std::size_t count_of(const std::map<std::uint64_t, naive_seat>& seats, http_place place) {
  return static_cast<std::size_t>(
      std::ranges::count_if(seats, [&](const auto& each) { return each.second.place == place; }));
}

std::optional<std::uint64_t> longest_waiting(const std::map<std::uint64_t, naive_seat>& seats,
                                             http_place place, http_places::time_point now) {
  std::optional<std::pair<http_places::time_point, std::uint64_t>> first;
  for (const auto& [id, seat] : seats) {
    if (seat.place != place) continue;
    const bool is_reserve = place == http_place::reserve;
    const auto since = is_reserve ? std::optional(seat.entered) : seat.waits_since;
    if (!since || (!is_reserve && now - *since < 10ms)) continue;
    if (!first || std::pair(*since, id) < *first) first = {*since, id};
  }
  return first ? std::optional(first->second) : std::nullopt;
}

}  // namespace

TEST_CASE("who gives way is who has waited longest, and of the reserve the oldest") {
  const unsigned seed = GENERATE(1u, 2u, 3u);
  INFO("seed " << seed);
  std::mt19937 random(seed);
  http_bounds bounds;
  bounds.session_count_max = 9;
  bounds.reserve_session_count_max = 5;
  bounds.important_session_count_max = 4;
  bounds.give_way_wait_min = 10ms;
  const std::map<http_place, std::size_t> count_max{
      {http_place::ordinary, 9}, {http_place::reserve, 5}, {http_place::important, 4}};
  http_places places(bounds);
  std::map<std::uint64_t, naive_seat> seats;
  http_places::time_point now{};
  std::uint64_t next_id = 1;
  for (int step = 0; step < 20'000; ++step) {
    now += std::chrono::milliseconds(random() % 3);
    const auto drawn = std::next(
        seats.begin(), static_cast<std::ptrdiff_t>(seats.empty() ? 0 : random() % seats.size()));
    const http_place place = all_places[random() % 3];
    const auto operation = seats.empty() ? 0 : random() % 5;
    if (operation == 0 && places.has_room(place)) {
      places.enter(next_id, place, now);
      seats[next_id++] = {place, now, {}};
    } else if (operation == 1 && drawn->second.place != place && places.has_room(place)) {
      places.enter(drawn->first, place, now);
      drawn->second = {place, now, {}};
    } else if (operation == 2) {
      places.begin_wait(drawn->first, now);
      if (!drawn->second.waits_since) drawn->second.waits_since = now;
    } else if (operation == 3) {
      places.end_wait(drawn->first);
      drawn->second.waits_since.reset();
    } else if (operation == 4) {
      places.leave(drawn->first);
      seats.erase(drawn);
    }
    for (const auto& [id, seat] : seats) REQUIRE(places.of(id) == seat.place);
    for (const http_place each : all_places) {
      REQUIRE(places.has_room(each) == (count_of(seats, each) < count_max.at(each)));
      REQUIRE(places.gives_way(each, now) == longest_waiting(seats, each, now));
    }
  }
}
