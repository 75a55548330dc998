// The running requests in order of importance, and how many sequences they are. At most
// max_num_seqs, so that a sorted array does: insertion and removal move pointers, iteration is what
// every step does.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "runtime/schedule/request_state.hpp"

namespace troupe {

class running_requests {
 public:
  /// Each unfinished sequence of the request takes one place from now on.
  void insert(request_state& request);
  void erase(request_state& request);
  /// One of a running request's sequences finished.
  void sequence_finished(const request_state& request);

  [[nodiscard]] std::size_t size() const { return requests_.size(); }
  [[nodiscard]] request_state& operator[](std::size_t i) const { return *requests_[i]; }
  [[nodiscard]] bool holds(std::size_t i, const request_state& request) const {
    return i < requests_.size() && requests_[i] == &request;
  }
  /// Where the first request is that does not come before the rank.
  [[nodiscard]] std::size_t lower_bound(const running_rank& rank) const;
  /// Where the lane's requests begin, and the next lane's.
  [[nodiscard]] std::size_t first_of(lane service) const;
  [[nodiscard]] std::size_t end_of(lane service) const;

  [[nodiscard]] std::uint32_t requests_in(lane service) const {
    return requests_in_[to_index(service)];
  }
  [[nodiscard]] std::uint32_t sequences_in(lane service) const {
    return sequences_in_[to_index(service)];
  }
  [[nodiscard]] std::uint32_t sequence_count() const;

  void check_integrity() const;

 private:
  std::vector<request_state*> requests_;  ///< ascending by rank: the most important first
  std::array<std::uint32_t, lane_count> requests_in_{}, sequences_in_{};
};

}  // namespace troupe
