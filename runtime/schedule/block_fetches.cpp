#include "runtime/schedule/block_fetches.hpp"

#include <algorithm>

namespace troupe {

void block_fetches::begin(schedule_request request, monotonic_time now) {
  const request_id id = request.id;
  deadlines_.push_back({now + wait_max_, id, next_ticket_});
  waiting_.insert_or_assign(id, wait{std::move(request), next_ticket_++});
  drop_answered();
}

std::optional<schedule_request> block_fetches::finish(request_id id) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return std::nullopt;
  schedule_request request = std::move(found->second.request);
  waiting_.erase(found);
  drop_answered();
  return request;
}

std::vector<schedule_request> block_fetches::expire(monotonic_time now) {
  std::vector<schedule_request> late;
  for (drop_answered(); !deadlines_.empty() && deadlines_.front().deadline <= now;
       drop_answered()) {
    const auto found = waiting_.find(deadlines_.front().id);
    late.push_back(std::move(found->second.request));
    waiting_.erase(found);
  }
  return late;
}

bool block_fetches::stop_sequence(sequence_id id) {
  const auto found = waiting_.find(id.request);
  if (found == waiting_.end()) return false;
  auto& resumed = found->second.request.resumed;
  if (id.index >= resumed.size() || resumed[id.index].finished) return false;
  resumed[id.index].finished = true;
  if (std::ranges::all_of(resumed, &schedule_request::progress::finished)) cancel(id.request);
  return true;
}

std::optional<monotonic_time> block_fetches::next_deadline() const {
  const auto first =
      std::ranges::find_if(deadlines_, [&](const due& each) { return is_waiting(each); });
  if (first == deadlines_.end()) return std::nullopt;
  return first->deadline;
}

bool block_fetches::is_waiting(const due& each) const {
  const auto found = waiting_.find(each.id);
  return found != waiting_.end() && found->second.ticket == each.ticket;
}

void block_fetches::drop_answered() {
  while (!deadlines_.empty() && !is_waiting(deadlines_.front())) deadlines_.pop_front();
}

}  // namespace troupe
