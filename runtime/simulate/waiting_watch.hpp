// What waiting costs whom, seen from outside the scheduler: for how long a request waited although
// the step that ran had room for it, and how late a request may come and still go first.
//
// Room is what nobody uses: a seat, a start, blocks for the whole prompt beside what the scheduler
// keeps back for growth, and time for a first chunk within the step's bound. Requests that arrive
// while a step runs are not held by it: nobody can join a step.
#pragma once

#include <array>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "runtime/simulate/virtual_request.hpp"

namespace troupe::simulate {

/// What a sealed plan left over; first_chunk_tokens 0: no time or tokens for another prompt.
struct step_room {
  std::uint32_t seats = 0, starts = 0, blocks = 0;
  std::uint32_t first_chunk_tokens = 0;
};

class waiting_watch {
 public:
  waiting_watch(std::span<const virtual_request> requests, std::uint32_t block_tokens,
                virtual_result& result);

  void enqueued(std::size_t place, lane service);
  /// It left the queue for the first time, at `now`.
  void started(std::size_t place, lane service, monotonic_time now);
  /// It ended without ever having started, or long after.
  void ended(std::size_t place, lane service);
  [[nodiscard]] bool is_anyone_waiting() const { return !needs_.empty(); }
  /// A step was planned and left this over; the next one is planned when it has ended.
  void planned(const step_room& room);
  void step_ended(monotonic_time duration);

 private:
  using by_arrival = std::set<std::pair<monotonic_time, std::size_t>>;
  /// First the number of blocks that its prompt needs.
  using by_need = std::set<std::pair<std::uint32_t, std::size_t>>;

  [[nodiscard]] std::uint32_t need_of(std::size_t place) const;
  bool erase(std::size_t place, lane service);

  std::span<const virtual_request> requests_;
  std::uint32_t block_tokens_;
  virtual_result& result_;
  std::array<by_arrival, lane_count> arrivals_;
  by_need needs_;
  std::vector<std::size_t> held_;  ///< while the step runs
};

}  // namespace troupe::simulate
