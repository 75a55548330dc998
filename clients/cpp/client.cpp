#include "clients/cpp/client.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <random>

#include <fmt/format.h>
#include <zmq.hpp>

#include "clients/cpp/wire_socket.hpp"

namespace troupe {

namespace {

using steady = std::chrono::steady_clock;

class dealer_client final : public wire_client {
 public:
  explicit dealer_client(const wire_client_options& options) : options_(options) {
    socket_ = zmq::socket_t(context_, zmq::socket_type::dealer);
    socket_.set(zmq::sockopt::linger, 0);
    socket_.connect(options.endpoint);
  }

  result<finished> generate(
      const submit& request, lane service,
      const std::function<bool(const envelope_header&, const delta&)>& on_delta) override {
    const std::string id =
        fmt::format("{:016x}", std::uniform_int_distribution<std::uint64_t>{}(random_));
    send_message(socket_, message_kind::submit, id, request, service);
    std::map<std::uint32_t, std::uint64_t> next_offset;  // by sequence; the wire may repeat
    for (;;) {
      TROUPE_TRY(auto message, receive());
      auto& [header, body] = message;
      if (header.kind == message_kind::error && header.request_id.empty())
        return failure_of(std::get<error_reply>(body));  // the server could not read what we sent
      if (header.request_id != id) continue;
      if (header.kind == message_kind::finished) return std::get<finished>(std::move(body));
      if (header.kind == message_kind::error) return failure_of(std::get<error_reply>(body));
      if (header.kind != message_kind::delta) continue;
      const auto& part = std::get<delta>(body);
      std::uint64_t& expected = next_offset[header.sequence];
      if (header.offset < expected) continue;
      expected = header.offset + part.token_ids.size();
      if (!on_delta(header, part))
        send_message(socket_, message_kind::cancel, id, cancel{}, service);
    }
  }

  result<stats> get_stats() override {
    send_message(socket_, message_kind::stats, {}, stats{}, lane::realtime);
    for (;;) {
      TROUPE_TRY(auto message, receive());
      if (message.first.kind == message_kind::stats)
        return std::get<stats>(std::move(message.second));
      if (message.first.kind == message_kind::error)
        return failure_of(std::get<error_reply>(message.second));
    }
  }

 private:
  static error failure_of(const error_reply& reply) {
    return {errc_named(reply.code), reply.message};
  }

  /// The next message; sends pings while it waits.
  result<std::pair<envelope_header, message_body>> receive() {
    auto give_up = steady::now() + silence_max();
    for (;;) {
      zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
      zmq::poll(&item, 1, options_.heartbeat);
      if ((item.revents & ZMQ_POLLIN) != 0) {
        zmq::message_t header_frame, payload_frame;
        if (!socket_.recv(header_frame) || !header_frame.more() || !socket_.recv(payload_frame))
          return error{errc::corrupt, "the server sent a message that is not two frames"};
        TROUPE_TRY(auto header, decode_header(header_frame.to_string_view()));
        TROUPE_TRY(auto body, decode_body(header.kind, payload_frame.to_string_view()));
        was_heard_ = true;
        // A server takes a client that once sent a ping for gone when it leaves the server's own
        // unanswered.
        if (header.kind == message_kind::ping)
          send_message(socket_, message_kind::pong, {}, pong{std::get<ping>(body).nonce},
                       lane::realtime);
        if (header.kind == message_kind::pong || header.kind == message_kind::ping) {
          give_up = steady::now() + silence_max();
          continue;
        }
        return std::pair{std::move(header), std::move(body)};
      }
      if (steady::now() >= give_up)
        return error{errc::deadline_exceeded,
                     fmt::format("no answer from {} for {} ms; is `troupe serve` running there?",
                                 options_.endpoint, silence_max().count())};
      send_message(socket_, message_kind::ping, {}, ping{}, lane::realtime);
    }
  }

  [[nodiscard]] std::chrono::milliseconds silence_max() const {
    return was_heard_ ? options_.silence_max
                      : std::min(options_.first_answer_max, options_.silence_max);
  }

  wire_client_options options_;
  bool was_heard_ = false;
  zmq::context_t context_{1};
  zmq::socket_t socket_;
  std::mt19937_64 random_{std::random_device{}()};
};

}  // namespace

result<std::unique_ptr<wire_client>> wire_client::connect(const wire_client_options& options) {
  try {
    return std::unique_ptr<wire_client>(std::make_unique<dealer_client>(options));
  } catch (const zmq::error_t& failure) {
    return error{errc::invalid_argument,
                 fmt::format("cannot connect to {}: {}", options.endpoint, failure.what())};
  }
}

}  // namespace troupe
