// Messages of docs/protocol.md on a DEALER socket: for clients that have one, cppzmq included.
#pragma once

#include <string>

#include <zmq.hpp>

#include "runtime/messages/envelope.hpp"

namespace troupe {

/// Header and payload, as two frames. Throws zmq::error_t.
void send_message(zmq::socket_t& socket, message_kind kind, const std::string& request_id,
                  const message_body& body, lane service, std::uint64_t deadline_ms = 0);

}  // namespace troupe
