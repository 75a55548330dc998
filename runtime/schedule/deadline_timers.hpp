// The deadlines of unfinished requests, soonest first. A request that ends leaves at once, so that
// there are never more entries than requests. A plain object; time is handed in.
#pragma once

#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/schedule/scheduler_core.hpp"

namespace troupe {

class deadline_timers {
 public:
  /// A request that has a deadline already gets the new one.
  void set(request_id id, monotonic_time deadline);
  void clear(request_id id);
  /// The requests whose time is up, soonest first; they leave.
  std::vector<request_id> expire(monotonic_time now);

  [[nodiscard]] std::optional<monotonic_time> next() const;
  [[nodiscard]] std::size_t size() const { return by_time_.size(); }

 private:
  std::set<std::pair<monotonic_time, request_id>> by_time_;
  std::unordered_map<request_id, monotonic_time> by_id_;
};

}  // namespace troupe
