// The waiting requests: one ordered queue a lane. Every operation is O(log waiting); nothing scans.
#pragma once

#include <array>
#include <cstdint>
#include <map>

#include "runtime/schedule/admission_order.hpp"
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

 private:
  std::array<std::map<admission_key, request_state*>, lane_count> queues_;
};

}  // namespace troupe
