#include "runtime/schedule/lane_queues.hpp"

#include <algorithm>

#include "runtime/schedule/request_state.hpp"

namespace troupe {

void lane_queues::insert(request_state& request) {
  request.queued_work = request.expected;
  queues_[to_index(request.service())].insert(request);
  by_age_[to_index(request.service())].emplace(age{request.request.arrival, request.order},
                                               &request);
  work_[to_index(request.service())] += request.queued_work;
}

void lane_queues::erase(const request_state& request) {
  queues_[to_index(request.service())].erase(request);
  by_age_[to_index(request.service())].erase(age{request.request.arrival, request.order});
  work_[to_index(request.service())] -= request.queued_work;
}

request_state* lane_queues::front(lane service) const {
  return queues_[to_index(service)].front();
}

request_state* lane_queues::oldest(lane service) const {
  const auto& by_age = by_age_[to_index(service)];
  return by_age.empty() ? nullptr : by_age.begin()->second;
}

std::uint32_t lane_queues::size(lane service) const {
  return queues_[to_index(service)].size();
}

std::uint32_t lane_queues::size() const {
  std::uint32_t sum = 0;
  for (const lane service : all_lanes) sum += size(service);
  return sum;
}

std::uint64_t lane_queues::charge(const request_state& request, std::uint64_t tokens) {
  return queues_[to_index(request.service())].charge(request, tokens);
}

void lane_queues::refund(const request_state& request, std::uint64_t tokens) {
  queues_[to_index(request.service())].refund(request, tokens);
}

void lane_queues::append_work(lane service, const request_state* end, std::size_t count_max,
                              std::vector<expected_work>& to) const {
  expected_work left = work(service);
  if (end != nullptr) left -= end->queued_work;
  const std::size_t room = count_max - std::min(count_max, to.size());
  for (const request_state* request : first(service, room + 1)) {
    if (request == end) return;
    if (to.size() >= count_max) break;
    to.push_back(request->queued_work);
    left -= request->queued_work;
  }
  if (left.sequences != 0) to.push_back(left);
}

bool lane_queues::contains(const request_state& request) const {
  return queues_[to_index(request.service())].contains(request);
}

void lane_queues::check_integrity() const {
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    queues_[i].check_integrity();
    TROUPE_CHECK(by_age_[i].size() == queues_[i].size());
  }
}

}  // namespace troupe
