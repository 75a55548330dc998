#include "actors/gateway/http_places.hpp"

#include "kernels/base/check.hpp"

namespace troupe {
namespace {

constexpr std::size_t to_index(http_place place) {
  return static_cast<std::size_t>(place);
}

}  // namespace

http_places::http_places(const http_bounds& bounds)
    : count_max_{bounds.session_count_max, bounds.reserve_session_count_max,
                 bounds.important_session_count_max},
      give_way_wait_min_(bounds.give_way_wait_min) {}

bool http_places::has_room(http_place place) const {
  return counts_[to_index(place)] < count_max_[to_index(place)];
}

std::optional<std::uint64_t> http_places::gives_way(http_place place, time_point now) const {
  const auto& waiting = waiting_[to_index(place)];
  if (waiting.empty()) return std::nullopt;
  const auto& [since, id] = *waiting.begin();
  if (place != http_place::reserve && now - since < give_way_wait_min_) return std::nullopt;
  return id;
}

void http_places::enter(std::uint64_t id, http_place place, time_point now) {
  const auto [found, is_new] = seats_.try_emplace(id);
  if (!is_new) vacate(id, found->second);
  found->second.place = place;
  ++counts_[to_index(place)];
  if (place == http_place::reserve) wait_from(id, found->second, now);
}

void http_places::leave(std::uint64_t id) {
  const auto found = seats_.find(id);
  TROUPE_CHECK(found != seats_.end());
  vacate(id, found->second);
  seats_.erase(found);
}

void http_places::begin_wait(std::uint64_t id, time_point now) {
  seat& own = seats_.at(id);
  if (!own.since) wait_from(id, own, now);
}

void http_places::end_wait(std::uint64_t id) {
  seat& own = seats_.at(id);
  if (own.place != http_place::reserve) wait_no_more(id, own);
}

void http_places::vacate(std::uint64_t id, seat& own) {
  wait_no_more(id, own);
  --counts_[to_index(own.place)];
}

void http_places::wait_from(std::uint64_t id, seat& own, time_point now) {
  own.since = now;
  waiting_[to_index(own.place)].emplace(now, id);
}

void http_places::wait_no_more(std::uint64_t id, seat& own) {
  if (own.since) waiting_[to_index(own.place)].erase({*own.since, id});
  own.since.reset();
}

}  // namespace troupe
