// The seam between a protocol and the gateway actor. A port owns one kind of socket (ZeroMQ, HTTP)
// or none (the embedded API) and its I/O thread; it turns bytes into inbound messages and outbound
// messages into bytes, and knows nothing of scheduling. Free of CAF, so that a port can be tested
// with a fake gateway.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/base/result.hpp"
#include "runtime/intake/intake.hpp"
#include "runtime/intake/tenancy.hpp"
#include "runtime/messages/envelope.hpp"
#include "runtime/observe/engine_status.hpp"
#include "runtime/observe/metrics.hpp"

namespace troupe {

/// Who asked: a connection of one port. identity is the port's own name for it (bytes).
struct client_ref {
  std::uint32_t port = 0;  ///< index in the gateway's list of ports
  std::string identity;
  bool operator==(const client_ref&) const = default;
};

struct inbound_submit {
  client_ref client;
  envelope_header header;  ///< kind submit; request_id unique among the tenant's live requests
  std::variant<std::string, submit>
      body;                ///< msgpack payload, decoded on a tokenizer thread; or decoded already
  std::string tenant;      ///< salts the prefix cache, scopes request ids
  bool resumable = false;  ///< keep the terminal reply for resume_ms_max
  account_index account = account_index::unlimited;  ///< whose lanes and rate apply
  /// When the port had read it; absent: when the gateway takes it up.
  std::optional<monotonic_time> arrival = std::nullopt;
};

struct outbound {
  client_ref client;
  envelope_header header;
  message_body body;  ///< accepted, delta, finished, error_reply
};

/// Where a port hands over what clients say. Thread-safe, never blocks.
class gateway_link {
 public:
  virtual ~gateway_link() = default;
  /// Admits on header and byte length alone: permission_denied (not the tenant's lane),
  /// rate_limited (above its rate), overloaded (no credit left in the lane, or too many bytes in
  /// flight), unavailable (draining, dead). Once admitted, exactly one terminal reply will be
  /// delivered, maybe in a lower lane than was asked for. `payload`, if any, becomes the body; it
  /// is copied when the request is admitted.
  virtual result<void> submit(inbound_submit request, std::string_view payload) = 0;
  result<void> submit(inbound_submit request) { return submit(std::move(request), {}); }
  virtual void cancel(client_ref client, std::string tenant, std::string request_id) = 0;
  virtual void resume(client_ref client, std::string tenant, std::string request_id,
                      resume offsets) = 0;
  /// The connection is gone or too slow: ends everything that it still has running, as aborted or
  /// with the reason.
  virtual void client_gone(client_ref client) = 0;
  virtual void client_gone(client_ref client, error reason) {
    (void)reason;
    client_gone(std::move(client));
  }
};

/// Implemented by each protocol.
class client_port {
 public:
  virtual ~client_port() = default;
  /// Called by the gateway actor with everything that became ready together, so that a step's
  /// deltas leave in one burst. Thread-safe, never blocks, keeps the order of one request's
  /// messages.
  virtual void deliver(std::vector<outbound> burst) = 0;
  /// Stops accepting, flushes what is queued for at most `grace`, closes sockets, joins the I/O
  /// thread.
  virtual void stop(std::chrono::milliseconds grace) = 0;
};

/// Runs jobs on the tokenizer threads (nice 5), VIP first, then realtime, then async. Bounded by
/// the gateway's credits; posting never blocks.
class job_pool {
 public:
  virtual ~job_pool() = default;
  virtual void post(lane service, std::function<void()> job) = 0;
};

/// What every port is given. All of it outlives the port.
struct port_services {
  std::uint32_t port_index = 0;
  gateway_link* gateway = nullptr;
  job_pool* jobs = nullptr;
  const intake* prompts = nullptr;
  metrics* measured = nullptr;
  const engine_status* status = nullptr;
  tenancy* tenants = nullptr;
};

}  // namespace troupe
