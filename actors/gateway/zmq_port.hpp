// The client wire on ZeroMQ (docs/protocol.md): one ROUTER socket on one I/O thread.
//
// A connection that is gone is noticed by libzmq's heartbeats and by sends that find no peer; its
// client has heartbeat_ms to come back before its requests are cancelled. A client which has ever
// sent a ping is also given up when it stays silent for client_timeout_ms. Replies to a reader that
// is full are parked; past outbox_bytes_max its requests end as slow_client.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "actors/gateway/port.hpp"
#include "kernels/base/result.hpp"

namespace troupe {

struct zmq_port_options {
  std::string endpoint = "tcp://127.0.0.1:5555";  ///< port 0: any free one
  std::chrono::milliseconds heartbeat{2000};
  std::chrono::milliseconds client_timeout{10000};
};

class zmq_port : public client_port {
 public:
  /// Binds before it returns. Errors: unavailable (address in use), invalid_argument (endpoint).
  static result<std::unique_ptr<zmq_port>> start(const zmq_port_options& options,
                                                 const port_services& services);
  /// Where it listens, with the port that was chosen.
  [[nodiscard]] virtual std::string endpoint() const = 0;
};

}  // namespace troupe
