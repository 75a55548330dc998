// Which of a port's connections have a place, and who gives way where there is none left. Knows ids
// and times only: the port closes those that have to go.
//
//   ordinary    within session_count_max
//   reserve     beyond it: heads that are yet to come, and probes
//   important   beyond it, for requests of the vip lane
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "actors/gateway/http_port.hpp"

namespace troupe {

enum class http_place : std::uint8_t { ordinary, reserve, important };
inline constexpr std::size_t http_place_count = 3;

class http_places {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  explicit http_places(const http_bounds& bounds);

  [[nodiscard]] bool has_room(http_place place) const;
  /// Who leaves a full place for one more: whoever has waited there longest for a request, for
  /// give_way_wait_min at least; of the reserve the oldest, whatever it does.
  [[nodiscard]] std::optional<std::uint64_t> gives_way(http_place place, time_point now) const;
  /// The place of a connection that has one.
  [[nodiscard]] http_place of(std::uint64_t id) const { return seats_.at(id).place; }

  /// Takes a place, and leaves the one that it had.
  void enter(std::uint64_t id, http_place place, time_point now);
  void leave(std::uint64_t id);
  /// It waits for a request, and nothing of a reply is left to be sent.
  void begin_wait(std::uint64_t id, time_point now);
  void end_wait(std::uint64_t id);

 private:
  struct seat {
    http_place place = http_place::ordinary;
    std::optional<time_point> since;  ///< its entry in waiting_
  };

  void vacate(std::uint64_t id, seat& own);
  void wait_from(std::uint64_t id, seat& own, time_point now);
  void wait_no_more(std::uint64_t id, seat& own);

  std::array<std::size_t, http_place_count> count_max_;
  const std::chrono::milliseconds give_way_wait_min_;
  std::unordered_map<std::uint64_t, seat> seats_;
  std::array<std::size_t, http_place_count> counts_{};
  /// Those that wait for a request, longest first; all of the reserve.
  std::array<std::set<std::pair<time_point, std::uint64_t>>, http_place_count> waiting_;
};

}  // namespace troupe
