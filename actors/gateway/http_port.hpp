// OpenAI-compatible HTTP on Boost.Beast: one I/O thread, asynchronous sessions, server-sent events.
//
//   POST /v1/completions, /v1/chat/completions; GET /v1/models, /health, /version, /metrics;
//   POST /tokenize, /detokenize
//
// A dropped connection cancels its requests. A reader that falls more than outbox_bytes_max behind is
// closed (slow_client).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "actors/gateway/port.hpp"
#include "kernels/base/result.hpp"

namespace troupe {

struct http_port_options {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8000;              ///< 0: any free one
  std::vector<std::string> api_keys;      ///< empty: none needed. Sent as `Authorization: Bearer KEY`
  std::string version;                    ///< GET /version
};

class http_port : public client_port {
 public:
  /// Binds and listens before it returns. Errors: unavailable (address in use, not ours), with the address.
  static result<std::unique_ptr<http_port>> start(const http_port_options& options, const port_services& services);
  /// The port it listens on.
  [[nodiscard]] virtual std::uint16_t local_port() const = 0;
};

}  // namespace troupe
