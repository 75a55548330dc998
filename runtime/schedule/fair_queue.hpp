// One lane's waiting requests. Those that were preempted go first; then tenants have turns by their
// shares, and within a tenant the admission key decides. Whose turn it is follows the virtual token
// counter of Sheng et al., "Fairness in Serving Large Language Models" (OSDI 2024): each tenant
// that waits has a counter of what it was served, in tokens divided by its share, and the least
// goes next. Who begins to wait is lifted to the least of those that wait already, so that idleness
// earns nothing. Every operation is O(log waiting); nothing scans.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/schedule/admission_order.hpp"

namespace troupe {

struct request_state;

class fair_queue {
 public:
  /// The request waits under its key, which stays the same until it is erased.
  void insert(request_state& request);
  void erase(const request_state& request);
  /// Its tenant was served so many tokens more. Returns its stay, which ends when it comes back
  /// from a rest behind the others and begins again beside them.
  std::uint64_t charge(const request_state& request, std::uint64_t tokens);
  /// Its tenant was served so many tokens fewer than were charged for the request. What was charged
  /// in an earlier stay does not come back: that it lay behind was forgiven already.
  void refund(const request_state& request, std::uint64_t tokens);

  /// Null when none waits.
  [[nodiscard]] request_state* front() const;
  [[nodiscard]] std::uint32_t size() const { return size_; }
  [[nodiscard]] bool contains(const request_state& request) const;
  /// At most count_max requests, in the order in which they would be admitted if each were charged
  /// its queued work and no other came.
  [[nodiscard]] std::vector<request_state*> first(std::size_t count_max) const;

  /// Tenants that wait, and those that are still known.
  [[nodiscard]] std::size_t tenant_count() const { return tenants_.size(); }
  void check_integrity() const;

 private:
  using ordered = std::map<admission_key, request_state*>;
  /// Counter, and what breaks ties: when the tenant began to wait.
  using turn = std::pair<double, std::uint64_t>;
  struct tenant {
    std::uint32_t index = 0;
    std::uint64_t stay = 0;
    turn at;
    ordered waiting;
  };
  using turns = std::map<turn, tenant*>;

  tenant& tenant_of(std::uint32_t index);
  void add(tenant& who, double tokens, double share);
  /// Moves the tenant from one of the two maps to the other, or within one.
  static void move(tenant& who, turn at, turns& from, turns& to);
  /// What a tenant is lifted to when it begins to wait.
  [[nodiscard]] double floor() const;
  /// Tenants of which nothing has to be known: they would be lifted anyway.
  void forget();

  ordered preempted_;
  std::unordered_map<std::uint32_t, tenant> tenants_;  ///< by index
  turns active_;                                       ///< tenants that wait
  turns resting_;                                      ///< tenants that do not, above the floor
  double last_served_ = 0.0;                           ///< of the tenant that was the last to wait
  std::uint64_t next_since_ = 0, next_stay_ = 0;
  std::uint32_t size_ = 0;
};

}  // namespace troupe
