// The seam between HTTP connections (http_session, Boost.Beast) and what they serve (http_service).
// Everything here runs on the port's I/O thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "actors/gateway/http_message.hpp"
#include "kernels/base/result.hpp"

namespace troupe {

/// The way back to the client of the request being served. A call on a closed connection does
/// nothing.
class http_responder {
 public:
  virtual ~http_responder() = default;
  /// Unique within the port, never used again.
  [[nodiscard]] virtual std::uint64_t id() const = 0;
  [[nodiscard]] virtual bool is_open() const = 0;
  /// The whole reply; ends the request.
  virtual void reply(const http_reply& reply) = 0;
  /// Or: begin, data several times, end. A reader too far behind is closed (connection_lost).
  virtual void begin_stream(const http_fields& fields) = 0;
  virtual void stream(std::string_view data) = 0;
  virtual void end_stream(bool close) = 0;
};

class http_application {
 public:
  virtual ~http_application() = default;
  /// On the head alone, before the body is read: the reply that refuses, if any.
  virtual std::optional<http_reply> refuse_early(const http_head& head) = 0;
  /// Whether the head alone says that the request is the vip lane's: such are served when all
  /// connections are taken.
  [[nodiscard]] virtual bool is_important(const http_head& head) const = 0;
  /// One request of a connection at a time.
  virtual void serve(const std::shared_ptr<http_responder>& client, http_request request) = 0;
  /// The connection ended under a request that is being served. Codes: aborted, slow_client,
  /// unavailable.
  virtual void connection_lost(std::uint64_t session_id, errc why) = 0;
};

}  // namespace troupe
