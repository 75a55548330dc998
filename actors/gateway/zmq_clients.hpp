// What the ZeroMQ port knows of its clients: when each was last heard, how many requests it has
// running, and the replies that its pipe could not take yet. A plain object; time is handed in.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/intake/tenancy.hpp"

namespace troupe {

struct zmq_frames {
  std::string header, payload;
  [[nodiscard]] std::size_t size_bytes() const { return header.size() + payload.size(); }
};

struct zmq_client {
  client_tenant tenant;
  std::chrono::nanoseconds last_heard{};
  std::chrono::nanoseconds last_probe{};
  std::chrono::nanoseconds lost_at{};  ///< a send found no peer; 0: none did since it was heard
  bool pings = false;                  ///< it has sent a ping: silence means that it is gone
  bool too_slow = false;  ///< its requests were ended: only their terminal replies go out
  std::map<std::string, std::uint32_t> live;  ///< request id -> terminal replies that are to come
  std::deque<zmq_frames> parked;
  std::size_t parked_bytes = 0;
  std::chrono::nanoseconds moved_at{};  ///< when something parked was last taken

  /// A submit was admitted.
  void expect_reply(const std::string& request_id) { ++live[request_id]; }
  /// A resume: the reply may be expected already.
  void expect_any_reply(const std::string& request_id) { live.try_emplace(request_id, 1); }
  void note_terminal(const std::string& request_id) {
    const auto found = live.find(request_id);
    if (found != live.end() && --found->second == 0) live.erase(found);
  }
  void drop_parked() {
    parked.clear();
    parked_bytes = 0;
  }
};

class zmq_client_table {
 public:
  /// A client whose connection is gone has one heartbeat to come back.
  zmq_client_table(const tenancy& tenants, std::chrono::nanoseconds heartbeat,
                   std::chrono::nanoseconds timeout)
      : tenants_(tenants), heartbeat_(heartbeat), timeout_(timeout) {}

  /// Notes a sign of life. nullptr when the table is full of clients with running requests.
  zmq_client* hear(const std::string& identity, std::chrono::nanoseconds now);
  zmq_client* find(const std::string& identity);
  void forget(const std::string& identity) { clients_.erase(identity); }

  struct due {
    std::vector<std::string> gone;  ///< silent or lost for too long: cancel and forget
    std::vector<std::string>
        probe;  ///< quiet with requests running: send a ping, which fails if nobody is there
    [[nodiscard]] bool empty() const { return gone.empty() && probe.empty(); }
  };
  /// What has to be done now. Quiet clients without requests are forgotten on the way.
  due check(std::chrono::nanoseconds now);
  [[nodiscard]] bool any_live() const;

 private:
  const tenancy& tenants_;
  std::chrono::nanoseconds heartbeat_, timeout_;
  std::unordered_map<std::string, zmq_client> clients_;
};

}  // namespace troupe
