// OpenAI-compatible HTTP on Boost.Beast: one I/O thread, asynchronous sessions, server-sent events.
//
//   POST /v1/completions, /v1/chat/completions; GET /v1/models, /health, /version, /metrics;
//   POST /tokenize, /detokenize
//
// The lane of a request is its header X-Troupe-Lane, else its body's `lane`; two that differ are
// refused. A connection that the client closes, or only its sending side, cancels its requests. A
// reader that falls more than outbox_bytes_max behind and takes nothing is closed (slow_client).
// When all connections are taken, one that waits for a request gives way to a new one; where none
// does, those in reserve still serve requests of the vip lane and answer probes. Pages of any
// origin may ask (CORS), as with vLLM.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "actors/gateway/port.hpp"
#include "config/limits.hpp"
#include "kernels/base/result.hpp"

namespace troupe {

/// Sizes and waits of connections; see limits.hpp for what each stands for. Tests make them small.
struct http_bounds {
  std::size_t outbox_bytes_max = limits::outbox_bytes_max;
  std::size_t behind_bytes_max = limits::http_behind_bytes_max;
  std::size_t session_count_max = limits::http_session_count_max;
  std::size_t reserve_session_count_max = limits::http_reserve_session_count_max;
  std::size_t important_session_count_max = limits::http_important_session_count_max;
  std::uint32_t header_bytes_max = limits::http_header_bytes_max;
  std::uint64_t body_bytes_max = limits::payload_bytes_max;
  std::uint64_t bodies_bytes_max = limits::http_bodies_bytes_max;
  std::uint64_t important_bodies_bytes_max = limits::http_important_bodies_bytes_max;
  std::size_t pipeline_bytes_max = limits::http_pipeline_bytes_max;
  std::chrono::milliseconds request_wait_max{limits::http_request_ms_max};
  std::chrono::milliseconds reserve_wait_max{limits::http_reserve_ms_max};
  std::chrono::milliseconds give_way_wait_min{limits::http_give_way_ms_min};
  std::chrono::milliseconds idle_wait_max{limits::http_idle_ms_max};
  std::chrono::milliseconds write_wait_max{limits::http_write_ms_max};
  std::chrono::milliseconds stuck_wait_max{limits::http_stuck_ms_max};
  std::chrono::milliseconds linger_wait_max{limits::http_linger_ms_max};
  std::chrono::milliseconds sweep_interval{limits::http_sweep_ms};
};

struct http_port_options {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8000;  ///< 0: any free one
  std::string version;        ///< GET /version
  http_bounds bounds;
};

class http_port : public client_port {
 public:
  /// Binds and listens before it returns. Clients send a key of the tenants, where there is one, as
  /// `Authorization: Bearer KEY`. Errors: unavailable (address in use, not ours), with the address;
  /// invalid_argument (beyond loopback without an API key).
  static result<std::unique_ptr<http_port>> start(const http_port_options& options,
                                                  const port_services& services);
  /// The port it listens on.
  [[nodiscard]] virtual std::uint16_t local_port() const = 0;
};

}  // namespace troupe
