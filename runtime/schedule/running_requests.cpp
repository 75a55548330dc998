#include "runtime/schedule/running_requests.hpp"

#include <algorithm>

namespace troupe {
namespace {

bool is_before(const request_state* request, const running_rank& rank) {
  return request->rank < rank;
}

}  // namespace

void running_requests::insert(request_state& request) {
  TROUPE_CHECK(!request.running);
  requests_.insert(std::lower_bound(requests_.begin(), requests_.end(), request.rank, is_before),
                   &request);
  request.running = true;
  ++requests_in_[to_index(request.service())];
  sequences_in_[to_index(request.service())] += request.unfinished_count;
}

void running_requests::erase(request_state& request) {
  const auto place = std::lower_bound(requests_.begin(), requests_.end(), request.rank, is_before);
  TROUPE_CHECK(request.running && place != requests_.end() && *place == &request);
  requests_.erase(place);
  request.running = false;
  --requests_in_[to_index(request.service())];
  sequences_in_[to_index(request.service())] -= request.unfinished_count;
}

void running_requests::sequence_finished(const request_state& request) {
  TROUPE_CHECK(request.running && sequences_in_[to_index(request.service())] != 0);
  --sequences_in_[to_index(request.service())];
}

std::size_t running_requests::lower_bound(const running_rank& rank) const {
  return static_cast<std::size_t>(
      std::lower_bound(requests_.begin(), requests_.end(), rank, is_before) - requests_.begin());
}

std::size_t running_requests::first_of(lane service) const {
  std::size_t first = 0;
  for (std::size_t i = 0; i < to_index(service); ++i) first += requests_in_[i];
  return first;
}

std::size_t running_requests::end_of(lane service) const {
  return first_of(service) + requests_in_[to_index(service)];
}

std::uint32_t running_requests::sequence_count() const {
  std::uint32_t sum = 0;
  for (const std::uint32_t count : sequences_in_) sum += count;
  return sum;
}

void running_requests::check_integrity() const {
  std::array<std::uint32_t, lane_count> requests{}, sequences{};
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    const request_state& request = *requests_[i];
    TROUPE_CHECK(request.running && !request.ended && request.unfinished_count != 0);
    TROUPE_CHECK(i == 0 || requests_[i - 1]->rank < request.rank);
    ++requests[to_index(request.service())];
    sequences[to_index(request.service())] += request.unfinished_count;
  }
  TROUPE_CHECK(requests == requests_in_ && sequences == sequences_in_);
}

}  // namespace troupe
