#include "runtime/schedule/lane_queues.hpp"

#include "runtime/schedule/request_state.hpp"

namespace troupe {

void lane_queues::insert(request_state& request) {
  TROUPE_CHECK(queues_[to_index(request.service())].emplace(request.key, &request).second);
  request.queued_work = request.expected;
  work_[to_index(request.service())] += request.queued_work;
}

void lane_queues::erase(const request_state& request) {
  TROUPE_CHECK(queues_[to_index(request.service())].erase(request.key) == 1);
  work_[to_index(request.service())] -= request.queued_work;
}

request_state* lane_queues::front(lane service) const {
  const auto& queue = queues_[to_index(service)];
  return queue.empty() ? nullptr : queue.begin()->second;
}

std::uint32_t lane_queues::size(lane service) const {
  return static_cast<std::uint32_t>(queues_[to_index(service)].size());
}

std::uint32_t lane_queues::size() const {
  std::uint32_t sum = 0;
  for (const lane service : all_lanes) sum += size(service);
  return sum;
}

void lane_queues::append_work(lane service, const admission_key* end, std::size_t count_max,
                              std::vector<expected_work>& to) const {
  expected_work left = work(service);
  for (const auto& [key, request] : all(service)) {
    if (end != nullptr && !(key < *end)) return;
    if (to.size() >= count_max) break;
    to.push_back(request->queued_work);
    left -= request->queued_work;
  }
  if (left.sequences != 0) to.push_back(left);
}

bool lane_queues::contains(const request_state& request) const {
  const auto& queue = queues_[to_index(request.service())];
  const auto found = queue.find(request.key);
  return found != queue.end() && found->second == &request;
}

}  // namespace troupe
