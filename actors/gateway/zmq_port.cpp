#include "actors/gateway/zmq_port.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <zmq.hpp>

#include "actors/gateway/zmq_clients.hpp"
#include "config/limits.hpp"
#include "kernels/base/thread_pool.hpp"

namespace troupe {

namespace {

std::chrono::nanoseconds now() {
  return std::chrono::steady_clock::now().time_since_epoch();
}

class router_port final : public zmq_port {
 public:
  router_port(const zmq_port_options& options, const port_services& services)
      : options_(options),
        services_(services),
        clients_(*services.tenants, options.heartbeat, options.client_timeout) {}

  ~router_port() override { stop(std::chrono::milliseconds{0}); }

  result<void> bind() {
    wake_fd_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wake_fd_ < 0)
      return error{errc::internal, "no eventfd for the ZeroMQ port: too many open files?"};
    try {
      // libzmq's thread starts with the first socket, and has the slices of the one that makes it.
      set_thread_slice(std::chrono::microseconds{limits::port_slice_us});
      socket_ = zmq::socket_t(context_, zmq::socket_type::router);
      set_thread_slice(std::chrono::microseconds{0});
      socket_.set(zmq::sockopt::router_mandatory, true);
      socket_.set(zmq::sockopt::router_handover, true);
      socket_.set(zmq::sockopt::sndhwm, limits::zmq_pipe_messages_max);
      socket_.set(zmq::sockopt::rcvhwm, limits::zmq_pipe_messages_max);
      socket_.set(zmq::sockopt::sndbuf, limits::zmq_send_buffer_bytes);
      socket_.set(zmq::sockopt::maxmsgsize,
                  static_cast<std::int64_t>(2 * limits::payload_bytes_max));
      socket_.set(zmq::sockopt::heartbeat_ivl, static_cast<int>(options_.heartbeat.count()));
      socket_.set(zmq::sockopt::heartbeat_timeout,
                  static_cast<int>(options_.client_timeout.count()));
      socket_.set(zmq::sockopt::linger, 0);
      std::string endpoint = options_.endpoint;
      if (endpoint.starts_with("tcp://") && endpoint.ends_with(":0"))
        endpoint.replace(endpoint.size() - 1, 1, "*");
      socket_.bind(endpoint);
      endpoint_ = socket_.get(zmq::sockopt::last_endpoint);
    } catch (const zmq::error_t& failure) {
      const bool in_use = failure.num() == EADDRINUSE;
      return error{
          in_use ? errc::unavailable : errc::invalid_argument,
          fmt::format("cannot listen on {}: {}{}", options_.endpoint, failure.what(),
                      in_use ? "; choose another with --zmq, port 0 picks a free one" : "")};
    }
    thread_ = std::thread([this] { serve(); });
    return {};
  }

  void deliver(std::vector<outbound> burst) override {
    {
      const std::lock_guard lock(mutex_);
      for (outbound& event : burst)
        outbox_[to_index(event.header.service)].push_back(std::move(event));
    }
    wake();
  }

  void stop(std::chrono::milliseconds grace) override {
    if (!thread_.joinable()) return;
    const std::chrono::nanoseconds until = now() + grace;
    stop_at_ns_.store(until.count(), std::memory_order_relaxed);
    wake();
    thread_.join();
    // What libzmq holds by now may go out for as long as there is time.
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - now());
    socket_.set(zmq::sockopt::linger, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    socket_.close();
    ::close(wake_fd_);
  }

  std::string endpoint() const override { return endpoint_; }

 private:
  /// The frames of a message that have come so far.
  struct incoming_message {
    std::string identity;
    std::vector<zmq::message_t> parts;  ///< the first two
    std::size_t frame_count = 0;        ///< with the identity
  };

  void wake() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake_fd_, &one, sizeof one);
  }

  void serve() {
    set_thread_slice(std::chrono::microseconds{limits::port_slice_us});
    zmq::pollitem_t items[] = {{socket_.handle(), 0, ZMQ_POLLIN, 0},
                               {nullptr, wake_fd_, ZMQ_POLLIN, 0}};
    next_check_ = now() + options_.heartbeat;
    for (;;) {
      try {
        zmq::poll(items, 2, poll_timeout());
        if ((items[1].revents & ZMQ_POLLIN) != 0) drain_wakeups();
        // Whoever passes a VIP's request on shall not wait for the tick that ends a flood's slice.
        if ((items[0].revents & ZMQ_POLLIN) != 0 && receive_burst()) std::this_thread::yield();
        send_outbox();
        retry_parked();
        work_off_due();
      } catch (const zmq::error_t& failure) {
        if (failure.num() != EINTR) spdlog::error("zmq port: {}", failure.what());
      }
      if (now() >= next_check_) {
        next_check_ = now() + options_.heartbeat;
        if (due_.empty()) due_ = clients_.check(now());
      }
      const std::int64_t stop_at = stop_at_ns_.load(std::memory_order_relaxed);
      if (stop_at != 0 && (now().count() >= stop_at || is_flushed())) return;
    }
  }

  /// Sleeps until the next client check, unless something has to be done sooner. An idle server
  /// with no client running wakes only once a heartbeat.
  std::chrono::milliseconds poll_timeout() {
    if (has_unsent_ || !due_.empty()) return std::chrono::milliseconds{0};
    if (stop_at_ns_.load(std::memory_order_relaxed) != 0 || !waiting_.empty())
      return std::chrono::milliseconds{limits::zmq_parked_retry_ms};
    const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(next_check_ - now());
    return std::max(wait + std::chrono::milliseconds{1}, std::chrono::milliseconds{0});
  }

  bool is_flushed() {
    const std::lock_guard lock(mutex_);
    const bool is_empty = std::all_of(outbox_.begin(), outbox_.end(),
                                      [](const auto& events) { return events.empty(); });
    return is_empty && !clients_.any_live();
  }

  void drain_wakeups() {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(wake_fd_, &count, sizeof count);
  }

  /// True when it left more to read, perhaps. A message is put together over several turns where it
  /// has many frames or large ones.
  bool receive_burst() {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < limits::zmq_receive_burst_max; ++i) {
      zmq::message_t frame;
      if (!socket_.recv(frame, zmq::recv_flags::dontwait)) return false;
      bytes += frame.size();
      take_frame(std::move(frame));
      if (bytes >= limits::zmq_receive_burst_bytes_max) return true;
    }
    return true;
  }

  void take_frame(zmq::message_t frame) {
    const bool is_last = !frame.more();
    if (incoming_.frame_count++ == 0) {
      incoming_.identity = frame.to_string();
    } else if (incoming_.parts.size() < 2) {
      incoming_.parts.push_back(std::move(frame));
    }
    if (!is_last) return;
    const incoming_message whole = std::exchange(incoming_, {});
    receive(whole.identity, whole.parts, whole.frame_count - 1);
  }

  void receive(const std::string& identity, const std::vector<zmq::message_t>& parts,
               std::size_t part_count) {
    zmq_client* client = clients_.hear(identity, now());
    if (client == nullptr)
      return refuse(identity, {},
                    {errc::overloaded, "too many clients are connected; retry later"});
    if (part_count != 2)
      return refuse(identity, {},
                    {errc::corrupt,
                     fmt::format("a message has two frames, header and payload, but {} came (a REQ "
                                 "socket adds an empty one: use DEALER)",
                                 part_count)});
    auto header = decode_header(parts[0].to_string_view());
    if (!header) return refuse(identity, {}, std::move(header).failure());
    // Decoding checks this too; a submit is refused here before its bytes are copied, and nothing
    // large is decoded on this thread.
    const std::size_t bytes_max = header->kind == message_kind::submit
                                      ? limits::payload_bytes_max
                                      : limits::control_payload_bytes_max;
    if (parts[1].size() > bytes_max)
      return refuse(
          identity, header->request_id,
          {errc::corrupt, fmt::format("the payload frame has {} bytes; at most {} are accepted in "
                                      "messages of this kind",
                                      parts[1].size(), bytes_max)});
    handle(identity, *client, std::move(*header), parts[1].to_string_view());
  }

  void handle(const std::string& identity, zmq_client& client, envelope_header header,
              std::string_view payload) {
    const client_ref from{services_.port_index, identity};
    switch (header.kind) {
      case message_kind::submit: {
        const std::string id = header.request_id;
        auto entered = services_.gateway->submit(
            {from, std::move(header), {}, client.tenant.name, true, client.tenant.account, now()},
            payload);
        if (!entered) return refuse(identity, id, std::move(entered).failure());
        client.expect_reply(id);
        return;
      }
      case message_kind::cancel: {
        if (auto body = decode_body(message_kind::cancel, payload); !body)
          return refuse(identity, header.request_id, std::move(body).failure());
        return services_.gateway->cancel(from, client.tenant.name, header.request_id);
      }
      case message_kind::resume: {
        auto body = decode_body(message_kind::resume, payload);
        if (!body) return refuse(identity, header.request_id, std::move(body).failure());
        client.expect_any_reply(header.request_id);
        return services_.gateway->resume(from, client.tenant.name, header.request_id,
                                         std::get<resume>(std::move(*body)));
      }
      case message_kind::ping: {
        auto body = decode_body(message_kind::ping, payload);
        if (!body) return refuse(identity, {}, std::move(body).failure());
        client.pings = true;
        return reply(identity, message_kind::pong, pong{std::get<ping>(*body).nonce});
      }
      case message_kind::pong: return;  // the answer to a probe: hearing it was the point
      case message_kind::stats:
        if (auto body = decode_body(message_kind::stats, payload); !body)
          return refuse(identity, header.request_id, std::move(body).failure());
        return reply(identity, message_kind::stats, stats{services_.measured->values()},
                     header.request_id);
      case message_kind::accepted:
      case message_kind::delta:
      case message_kind::finished:
      case message_kind::error:
        return refuse(identity, header.request_id,
                      {errc::invalid_argument,
                       "clients send submit, cancel, resume, ping, pong and stats; the other "
                       "kinds come from the server"});
    }
  }

  void refuse(const std::string& identity, const std::string& request_id, const error& reason) {
    envelope_header header;
    header.kind = message_kind::error;
    header.request_id = request_id;
    send(identity, {encode_header(header),
                    encode_body(error_reply{std::string(to_string(reason.code)), reason.message})});
  }

  /// The request id lets a client tell its questions apart.
  void reply(const std::string& identity, message_kind kind, const message_body& body,
             const std::string& request_id = {}) {
    envelope_header header;
    header.kind = kind;
    header.request_id = request_id;
    send(identity, {encode_header(header), encode_body(body)});
  }

  /// VIPs' first; a bounded number, so that a flood's answers do not keep the next VIP's request
  /// waiting. A request's messages are all of one lane.
  void send_outbox() {
    for (const outbound& event : take_outbox()) {
      const std::string& identity = event.client.identity;
      const bool terminal =
          event.header.kind == message_kind::finished || event.header.kind == message_kind::error;
      if (zmq_client* client = clients_.find(identity)) {
        if (terminal) client->note_terminal(event.header.request_id);
        if (client->too_slow && !terminal) continue;
        if (client->live.empty()) client->too_slow = false;  // this is the last terminal reply
      }
      send(identity, {encode_header(event.header), encode_body(event.body)});
    }
  }

  /// Sends now, or parks behind what is parked already.
  void send(const std::string& identity, zmq_frames frames) {
    zmq_client* client = clients_.find(identity);
    if (client != nullptr && !client->parked.empty())
      return park(identity, *client, std::move(frames));
    switch (try_send(identity, frames)) {
      case sent::yes:
        if (client != nullptr) client->lost_at = {};
        return;
      case sent::no_peer: return lose(client);
      case sent::full:
        if (client != nullptr) park(identity, *client, std::move(frames));
        return;
    }
  }

  enum class sent : std::uint8_t { yes, full, no_peer };

  sent try_send(const std::string& identity, const zmq_frames& frames) {
    // The first frame decides: libzmq takes the others of a message which it has begun.
    try {
      if (!socket_.send(zmq::buffer(identity),
                        zmq::send_flags::sndmore | zmq::send_flags::dontwait))
        return sent::full;
      (void)socket_.send(zmq::buffer(frames.header),
                         zmq::send_flags::sndmore | zmq::send_flags::dontwait);
      (void)socket_.send(zmq::buffer(frames.payload), zmq::send_flags::dontwait);
      return sent::yes;
    } catch (const zmq::error_t& failure) {
      if (failure.num() == EHOSTUNREACH) return sent::no_peer;
      throw;
    }
  }

  void park(const std::string& identity, zmq_client& client, zmq_frames frames) {
    if (client.parked.empty()) client.moved_at = now();
    client.parked_bytes += frames.size_bytes();
    const bool is_stuck =
        now() - client.moved_at > std::chrono::milliseconds{limits::zmq_stuck_ms_max} ||
        client.parked_bytes > limits::zmq_replay_bytes_max;
    if (client.parked_bytes > limits::outbox_bytes_max && is_stuck) {
      client.drop_parked();
      if (client.live.empty()) return;
      spdlog::warn("zmq port: a client reads too slowly; its requests end as slow_client");
      client.too_slow = true;
      return services_.gateway->client_gone(
          {services_.port_index, identity},
          {errc::slow_client,
           fmt::format("the client left {} bytes of replies unread; its streams were ended",
                       limits::outbox_bytes_max)});
    }
    client.parked.push_back(std::move(frames));
    waiting_.insert(identity);
  }

  /// A bounded part of what is parked, each turn from the next client on: a long backlog whose
  /// reader is back does not keep the next VIP's request waiting either.
  void retry_parked() {
    std::size_t left = limits::zmq_send_burst_max;
    bool any_sent = false;
    for (std::size_t count = waiting_.size(); count > 0 && left > 0; --count) {
      auto next = waiting_.upper_bound(last_retried_);
      if (next == waiting_.end()) next = waiting_.begin();
      last_retried_ = *next;
      zmq_client* const client = clients_.find(*next);
      if (client != nullptr) any_sent = send_parked(*next, *client, left) || any_sent;
      if (client == nullptr || client->parked.empty()) waiting_.erase(next);
    }
    // Where nobody took anything, there is time until the next try.
    has_unsent_ = has_unsent_ || (any_sent && left == 0);
  }

  /// True when it took some. Each try counts.
  bool send_parked(const std::string& identity, zmq_client& client, std::size_t& left) {
    bool any_sent = false;
    while (!client.parked.empty() && left > 0) {
      --left;
      const sent outcome = try_send(identity, client.parked.front());
      if (outcome == sent::full) break;
      if (outcome == sent::no_peer) {
        lose(&client);
        break;
      }
      any_sent = true;
      client.moved_at = now();
      client.parked_bytes -= client.parked.front().size_bytes();
      client.parked.pop_front();
    }
    return any_sent;
  }

  /// The connection is gone. What it missed stays in the transcripts, for a heartbeat's time to
  /// come back and resume.
  void lose(zmq_client* client) {
    if (client == nullptr) return;
    client->drop_parked();
    if (client->lost_at != std::chrono::nanoseconds{}) return;
    client->lost_at = now();
    next_check_ = std::min(next_check_, client->lost_at + options_.heartbeat);
  }

  void drop(const std::string& identity) {
    clients_.forget(identity);
    services_.gateway->client_gone({services_.port_index, identity});
  }

  /// A bounded part of what the last check of the clients found: thousands of quiet ones are due at
  /// once.
  void work_off_due() {
    for (std::size_t i = 0; i < limits::zmq_send_burst_max; ++i) {
      if (!due_.gone.empty()) {
        drop(due_.gone.back());
        due_.gone.pop_back();
      } else if (!due_.probe.empty()) {
        reply(due_.probe.back(), message_kind::ping, ping{});
        due_.probe.pop_back();
      } else {
        return;
      }
    }
  }

  std::vector<outbound> take_outbox() {
    std::vector<outbound> burst;
    const std::lock_guard lock(mutex_);
    has_unsent_ = false;
    for (const lane service : all_lanes) {
      std::deque<outbound>& waiting = outbox_[to_index(service)];
      while (!waiting.empty() &&
             burst.size() < (service == lane::vip ? limits::zmq_send_burst_vip_max
                                                  : limits::zmq_send_burst_max)) {
        burst.push_back(std::move(waiting.front()));
        waiting.pop_front();
      }
      has_unsent_ = has_unsent_ || !waiting.empty();
    }
    return burst;
  }

  zmq_port_options options_;
  port_services services_;
  zmq_client_table clients_;  // touched by the I/O thread only
  std::chrono::nanoseconds next_check_{};
  zmq_client_table::due due_;  ///< of the last check, what is still to be done
  incoming_message incoming_;
  std::set<std::string> waiting_;  ///< who may have something parked
  std::string last_retried_;       ///< of them
  bool has_unsent_ = false;        ///< there is more to send than one turn sends
  zmq::context_t context_{1};
  zmq::socket_t socket_;
  std::string endpoint_;
  int wake_fd_ = -1;
  std::mutex mutex_;
  std::array<std::deque<outbound>, lane_count> outbox_;
  std::atomic<std::int64_t> stop_at_ns_{0};
  std::thread thread_;
};

}  // namespace

result<std::unique_ptr<zmq_port>> zmq_port::start(const zmq_port_options& options,
                                                  const port_services& services) {
  auto port = std::make_unique<router_port>(options, services);
  TROUPE_TRY_VOID(port->bind());
  return std::unique_ptr<zmq_port>(std::move(port));
}

}  // namespace troupe
