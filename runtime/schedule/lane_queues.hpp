// The waiting requests: one queue a lane, and the work that waits in it. Every operation is
// O(log waiting); nothing scans.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "runtime/schedule/fair_queue.hpp"
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
  /// The lane's request that arrived first; null when none waits.
  [[nodiscard]] request_state* oldest(lane service) const;
  /// At most count_max of the lane's requests, in order.
  [[nodiscard]] std::vector<request_state*> first(lane service, std::size_t count_max) const {
    return queues_[to_index(service)].first(count_max);
  }
  /// Tokens that the request's tenant was served in its lane (fair_queue::charge()), and those that
  /// were charged but not used.
  std::uint64_t charge(const request_state& request, std::uint64_t tokens);
  void refund(const request_state& request, std::uint64_t tokens);
  /// All that waits in the lane.
  [[nodiscard]] const expected_work& work(lane service) const { return work_[to_index(service)]; }
  /// Appends the work of the lane's first requests, up to a waiting one if it is given, one by one;
  /// those beyond count_max entries together.
  void append_work(lane service, const request_state* end, std::size_t count_max,
                   std::vector<expected_work>& to) const;
  void check_integrity() const;

 private:
  /// Arrival, and the order of enqueue() among equals.
  using age = std::pair<monotonic_time, std::uint64_t>;

  std::array<fair_queue, lane_count> queues_;
  std::array<std::map<age, request_state*>, lane_count> by_age_;
  std::array<expected_work, lane_count> work_{};
};

}  // namespace troupe
