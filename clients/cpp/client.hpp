// A client of Troupe's wire (docs/protocol.md) in C++: one DEALER socket, blocking calls with
// deadlines. For one thread at a time.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "kernels/base/result.hpp"
#include "runtime/messages/envelope.hpp"

namespace troupe {

struct wire_client_options {
  std::string endpoint = "tcp://127.0.0.1:5555";
  /// The longest silence between two messages of the server; a server that is busy answers pings
  /// all the same.
  std::chrono::milliseconds silence_max{30000};
  /// The longest wait for a first sign of life.
  std::chrono::milliseconds first_answer_max{5000};
  std::chrono::milliseconds heartbeat{1000};
};

class wire_client {
 public:
  static result<std::unique_ptr<wire_client>> connect(const wire_client_options& options);
  virtual ~wire_client() = default;

  /// Sends the request and hands every delta to on_delta until the terminal reply. When on_delta
  /// returns false the request is cancelled, and the outcome is the error `aborted`.
  virtual result<finished> generate(
      const submit& request, lane service,
      const std::function<bool(const envelope_header&, const delta&)>& on_delta) = 0;
  virtual result<stats> get_stats() = 0;
};

}  // namespace troupe
