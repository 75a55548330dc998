// Requests that wait for an answer of the lower tier before they are queued, each until its
// deadline: then it is queued without the answer and recomputes. Every wait is equally long, so
// that deadlines pass in order. A plain object; time is handed in.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/schedule/scheduler_core.hpp"

namespace troupe {

class block_fetches {
 public:
  explicit block_fetches(monotonic_time wait_max) : wait_max_(wait_max) {}

  /// An id that waits already is replaced.
  void begin(schedule_request request, monotonic_time now);
  /// The request whose answer came; nothing when it does not wait (any more).
  std::optional<schedule_request> finish(request_id id);
  /// The requests whose time is up, in the order of their arrival here.
  std::vector<schedule_request> expire(monotonic_time now);
  /// False if the request does not wait here.
  bool cancel(request_id id) { return waiting_.erase(id) != 0; }
  /// Ends one sequence of a resumed request. False if unknown or already ended.
  bool stop_sequence(sequence_id id);

  [[nodiscard]] std::optional<monotonic_time> next_deadline() const;
  [[nodiscard]] std::size_t size() const { return waiting_.size(); }

 private:
  struct wait {
    schedule_request request;
    std::uint64_t ticket = 0;
  };
  struct due {
    monotonic_time deadline{};
    request_id id{};
    std::uint64_t ticket = 0;  ///< of the wait that it ends; another one is not its business
  };
  void drop_answered();
  [[nodiscard]] bool is_waiting(const due& each) const;

  monotonic_time wait_max_;
  std::unordered_map<request_id, wait> waiting_;
  std::deque<due> deadlines_;
  std::uint64_t next_ticket_ = 0;
};

}  // namespace troupe
