#include "actors/gateway/zmq_clients.hpp"

#include "config/limits.hpp"

namespace troupe {

zmq_client* zmq_client_table::hear(const std::string& identity, std::chrono::nanoseconds now) {
  auto found = clients_.find(identity);
  if (found == clients_.end()) {
    if (clients_.size() >= limits::zmq_client_count_max) {
      std::erase_if(clients_, [](const auto& entry) { return entry.second.live.empty(); });
      if (clients_.size() >= limits::zmq_client_count_max) return nullptr;
    }
    found = clients_.emplace(identity, zmq_client{}).first;
    found->second.tenant = tenants_.of_identity(identity);
  }
  found->second.last_heard = now;
  found->second.lost_at = {};
  return &found->second;
}

zmq_client* zmq_client_table::find(const std::string& identity) {
  const auto found = clients_.find(identity);
  return found == clients_.end() ? nullptr : &found->second;
}

zmq_client_table::due zmq_client_table::check(std::chrono::nanoseconds now) {
  due actions;
  std::erase_if(clients_, [&](const auto& entry) {
    return entry.second.live.empty() && entry.second.parked.empty() &&
           now - entry.second.last_heard > timeout_;
  });
  for (auto& [identity, client] : clients_) {
    if (client.live.empty()) continue;
    const auto silent_for = now - client.last_heard;
    const bool is_lost =
        client.lost_at != std::chrono::nanoseconds{} && now - client.lost_at >= heartbeat_;
    if (is_lost || (client.pings && silent_for > timeout_)) {
      actions.gone.push_back(identity);
    } else if (silent_for > heartbeat_ && now - client.last_probe >= heartbeat_) {
      client.last_probe = now;
      actions.probe.push_back(identity);
    }
  }
  return actions;
}

bool zmq_client_table::any_live() const {
  for (const auto& [identity, client] : clients_) {
    if (!client.live.empty() || !client.parked.empty()) return true;
  }
  return false;
}

}  // namespace troupe
