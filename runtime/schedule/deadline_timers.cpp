#include "runtime/schedule/deadline_timers.hpp"

namespace troupe {

void deadline_timers::set(request_id id, monotonic_time deadline) {
  clear(id);
  by_id_.emplace(id, deadline);
  by_time_.emplace(deadline, id);
}

void deadline_timers::clear(request_id id) {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return;
  by_time_.erase({found->second, id});
  by_id_.erase(found);
}

std::vector<request_id> deadline_timers::expire(monotonic_time now) {
  std::vector<request_id> late;
  while (!by_time_.empty() && by_time_.begin()->first <= now) {
    late.push_back(by_time_.begin()->second);
    clear(late.back());
  }
  return late;
}

std::optional<monotonic_time> deadline_timers::next() const {
  if (by_time_.empty()) return std::nullopt;
  return by_time_.begin()->first;
}

}  // namespace troupe
