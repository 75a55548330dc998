#include "clients/cpp/wire_socket.hpp"

namespace troupe {

void send_message(zmq::socket_t& socket, message_kind kind, const std::string& request_id,
                  const message_body& body, lane service, std::uint64_t deadline_ms) {
  envelope_header header;
  header.kind = kind;
  header.request_id = request_id;
  header.service = service;
  header.deadline_ms = deadline_ms;
  socket.send(zmq::buffer(encode_header(header)), zmq::send_flags::sndmore);
  socket.send(zmq::buffer(encode_body(body)), zmq::send_flags::none);
}

}  // namespace troupe
