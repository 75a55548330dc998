// When requests reach an engine: each at its arrival, or later while as many as the clients keep in
// flight are unfinished. A plain object on virtual time.
#pragma once

#include <algorithm>
#include <deque>
#include <optional>
#include <span>

#include "runtime/simulate/virtual_request.hpp"

namespace troupe::simulate {

class submissions {
 public:
  submissions(std::span<const virtual_request> requests, const client_behaviour& clients)
      : requests_(requests),
        turnaround_(clients.turnaround),
        bounded_(clients.concurrency_max != 0),
        free_(clients.concurrency_max, monotonic_time{}) {}

  /// When the next request comes; nothing when none is left or all clients wait for replies.
  [[nodiscard]] std::optional<monotonic_time> next_time() const {
    if (next_ == requests_.size() || (bounded_ && free_.empty())) return std::nullopt;
    const monotonic_time arrival = requests_[next_].arrival;
    return bounded_ ? std::max(arrival, free_.front()) : arrival;
  }
  /// Takes it; its place in the workload. Only where next_time() is something.
  std::size_t take() {
    if (bounded_) free_.pop_front();
    return next_++;
  }
  /// A request has ended.
  void ended(monotonic_time now) {
    if (!bounded_) return;
    const monotonic_time from = now + turnaround_;
    free_.insert(std::ranges::upper_bound(free_, from), from);
  }

 private:
  std::span<const virtual_request> requests_;
  monotonic_time turnaround_;
  bool bounded_;
  std::size_t next_ = 0;
  std::deque<monotonic_time> free_;  ///< from when each waiting client may send, ascending
};

}  // namespace troupe::simulate
