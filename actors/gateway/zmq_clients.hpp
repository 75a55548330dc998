// What the ZeroMQ port knows of its clients: when each was last heard, how many requests it has running, and
// the replies that its pipe could not take yet. A plain object; time is handed in.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

namespace troupe {

struct zmq_frames {
  std::string header, payload;
  [[nodiscard]] std::size_t size_bytes() const { return header.size() + payload.size(); }
};

struct zmq_client {
  std::chrono::nanoseconds last_heard{};
  std::chrono::nanoseconds last_probe{};
  bool pings = false;              ///< it has sent a ping: silence means that it is gone
  std::size_t live_requests = 0;
  std::deque<zmq_frames> parked;
  std::size_t parked_bytes = 0;
};

class zmq_client_table {
 public:
  zmq_client_table(std::chrono::nanoseconds heartbeat, std::chrono::nanoseconds timeout)
      : heartbeat_(heartbeat), timeout_(timeout) {}

  /// Notes a sign of life. nullptr when the table is full of clients with running requests.
  zmq_client* hear(const std::string& identity, std::chrono::nanoseconds now);
  zmq_client* find(const std::string& identity);
  void forget(const std::string& identity) { clients_.erase(identity); }

  struct due {
    std::vector<std::string> gone;    ///< silent for too long: cancel and forget
    std::vector<std::string> probe;   ///< quiet with requests running: send a ping, which fails if nobody is there
  };
  /// What has to be done now. Quiet clients without requests are forgotten on the way.
  due check(std::chrono::nanoseconds now);
  [[nodiscard]] bool any_live() const;
  [[nodiscard]] std::vector<std::string> parked() const;

 private:
  std::chrono::nanoseconds heartbeat_, timeout_;
  std::unordered_map<std::string, zmq_client> clients_;
};

}  // namespace troupe
