// The waiting requests: one ordered queue a lane. Every operation is O(log waiting); nothing scans.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "runtime/schedule/admission_order.hpp"
#include "runtime/schedule/finish_estimate.hpp"
#include "runtime/schedule/lane.hpp"

namespace troupe {

struct request_state;

class lane_queues {
 public:
  /// The request waits under its lane and its key, which stay the same until it is erased.
  void insert(request_state& request);
  void erase(const request_state& request);
  /// The request that the lane admits next; null when none waits.
  [[nodiscard]] request_state* front(lane service) const;
  [[nodiscard]] std::uint32_t size(lane service) const;
  [[nodiscard]] std::uint32_t size() const;
  [[nodiscard]] bool contains(const request_state& request) const;
  /// The lane's requests in order.
  [[nodiscard]] const std::map<admission_key, request_state*>& all(lane service) const {
    return queues_[to_index(service)];
  }
  /// All that waits in the lane.
  [[nodiscard]] const expected_work& work(lane service) const { return work_[to_index(service)]; }
  /// Appends the work of the lane's first requests, up to the key if one is given, one by one;
  /// those beyond count_max entries together.
  void append_work(lane service, const admission_key* end, std::size_t count_max,
                   std::vector<expected_work>& to) const;

 private:
  std::array<std::map<admission_key, request_state*>, lane_count> queues_;
  std::array<expected_work, lane_count> work_{};
};

}  // namespace troupe
