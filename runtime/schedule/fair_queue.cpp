#include "runtime/schedule/fair_queue.hpp"

#include <algorithm>
#include <functional>
#include <queue>

#include "config/limits.hpp"
#include "runtime/schedule/request_state.hpp"

namespace troupe {

void fair_queue::insert(request_state& request) {
  ++size_;
  if (!request.key.fresh) {
    TROUPE_CHECK(preempted_.emplace(request.key, &request).second);
    return;
  }
  tenant& who = tenant_of(request.request.tenant_index);
  if (who.waiting.empty()) {
    if (who.at.first < floor()) who.stay = next_stay_++;
    move(who, {std::max(who.at.first, floor()), next_since_++}, resting_, active_);
  }
  TROUPE_CHECK(who.waiting.emplace(request.key, &request).second);
}

void fair_queue::erase(const request_state& request) {
  --size_;
  if (!request.key.fresh) {
    TROUPE_CHECK(preempted_.erase(request.key) == 1);
    return;
  }
  tenant& who = tenants_.at(request.request.tenant_index);
  TROUPE_CHECK(who.waiting.erase(request.key) == 1);
  if (who.waiting.empty()) {
    last_served_ = who.at.first;
    move(who, who.at, active_, resting_);
  }
  forget();
}

std::uint64_t fair_queue::charge(const request_state& request, std::uint64_t tokens) {
  tenant& who = tenant_of(request.request.tenant_index);
  const std::uint64_t stay = who.stay;
  add(who, static_cast<double>(tokens), request.request.tenant_share);
  return stay;
}

void fair_queue::refund(const request_state& request, std::uint64_t tokens) {
  const auto found = tenants_.find(request.request.tenant_index);
  if (found == tenants_.end() || found->second.stay != request.charge_stay) return;
  add(found->second, -static_cast<double>(tokens), request.request.tenant_share);
}

/// May forget the tenant.
void fair_queue::add(tenant& who, double tokens, double share) {
  turns& its = who.waiting.empty() ? resting_ : active_;
  move(who, {who.at.first + tokens / share, who.at.second}, its, its);
  forget();
}

request_state* fair_queue::front() const {
  if (!preempted_.empty()) return preempted_.begin()->second;
  return active_.empty() ? nullptr : active_.begin()->second->waiting.begin()->second;
}

bool fair_queue::contains(const request_state& request) const {
  const auto holds = [&](const ordered& queue) {
    const auto found = queue.find(request.key);
    return found != queue.end() && found->second == &request;
  };
  if (!request.key.fresh) return holds(preempted_);
  const auto found = tenants_.find(request.request.tenant_index);
  return found != tenants_.end() && holds(found->second.waiting);
}

std::vector<request_state*> fair_queue::first(std::size_t count_max) const {
  std::vector<request_state*> out;
  out.reserve(std::min<std::size_t>(count_max, size_));
  for (const auto& [key, request] : preempted_) {
    if (out.size() == count_max) return out;
    out.push_back(request);
  }
  struct cursor {
    turn at;
    ordered::const_iterator next, end;
    bool operator>(const cursor& other) const { return at > other.at; }
  };
  std::priority_queue<cursor, std::vector<cursor>, std::greater<>> cursors;
  for (const auto& [at, who] : active_)
    cursors.push({at, who->waiting.begin(), who->waiting.end()});
  while (!cursors.empty() && out.size() < count_max) {
    cursor each = cursors.top();
    cursors.pop();
    const request_state& request = *each.next->second;
    out.push_back(each.next->second);
    each.at.first +=
        static_cast<double>(request.queued_work.tokens()) / request.request.tenant_share;
    if (++each.next != each.end) cursors.push(each);
  }
  return out;
}

fair_queue::tenant& fair_queue::tenant_of(std::uint32_t index) {
  const auto [found, is_new] = tenants_.try_emplace(index);
  tenant& who = found->second;
  if (is_new) {
    who.index = index;
    who.stay = next_stay_++;
    who.at = {floor(), next_since_++};
    resting_.emplace(who.at, &who);
  }
  return who;
}

void fair_queue::move(tenant& who, turn at, turns& from, turns& to) {
  auto node = from.extract(who.at);
  TROUPE_CHECK(!node.empty() && node.mapped() == &who);
  node.key() = who.at = at;
  TROUPE_CHECK(to.insert(std::move(node)).inserted);
}

double fair_queue::floor() const {
  return active_.empty() ? last_served_ : active_.begin()->first.first;
}

void fair_queue::forget() {
  const double below = floor();
  while (!resting_.empty() && (resting_.begin()->first.first <= below ||
                               resting_.size() > limits::resting_tenants_max)) {
    const std::uint32_t index = resting_.begin()->second->index;
    resting_.erase(resting_.begin());
    tenants_.erase(index);
  }
}

void fair_queue::check_integrity() const {
  TROUPE_CHECK(tenants_.size() == active_.size() + resting_.size());
  std::size_t waiting = preempted_.size();
  for (const auto& [at, who] : active_) {
    TROUPE_CHECK(who->at == at && !who->waiting.empty() && &tenants_.at(who->index) == who);
    waiting += who->waiting.size();
  }
  for (const auto& [at, who] : resting_) {
    TROUPE_CHECK(who->at == at && who->waiting.empty() && &tenants_.at(who->index) == who);
  }
  TROUPE_CHECK(waiting == size_);
}

}  // namespace troupe
