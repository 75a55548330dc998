// One HTTP/1.1 connection: reads requests one after the other, hands each to the application,
// writes its reply or stream in order, and enforces sizes and waits.
//
//   idle --first byte--> head --fields--> body --complete--> busy --reply written--> idle
//     any state --refused or `close`--> lingering --client closes, or time--> closed
//
// A session in reserve (the port has no ordinary place left) asks for another place when it has
// read a head; without one it answers a probe and refuses all else, and ends. A session keeps
// reading while busy, so that a client that goes away is noticed at once. A client that closes its
// sending side counts as gone.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/ip/tcp.hpp>

#include "actors/gateway/http_application.hpp"
#include "actors/gateway/http_places.hpp"
#include "actors/gateway/http_port.hpp"

namespace troupe {

/// What the sessions of a port share.
struct http_session_context {
  http_application* application = nullptr;
  http_bounds bounds;
  std::shared_ptr<byte_budget> bodies, important_bodies;
  /// A place for the request whose head was read, given as it is asked for.
  std::function<http_place(std::uint64_t session_id, bool is_important)> find_place;
  /// The session waits for a request, or no longer.
  std::function<void(std::uint64_t session_id, bool waits)> on_waiting;
  std::function<void(std::uint64_t session_id)> on_closed;
  bool draining = false;  ///< connections end with the request they are in
};

class http_session final : public http_responder,
                           public std::enable_shared_from_this<http_session> {
 public:
  using clock = std::chrono::steady_clock;

  http_session(boost::asio::ip::tcp::socket socket, std::uint64_t id, http_session_context& shared,
               http_place place);
  ~http_session() override;

  void start();
  /// Closes where nothing is being answered; otherwise the connection ends with the reply.
  void drain();
  void close(errc why);
  /// Closes for another connection. False where the next request is here already.
  bool give_way();
  /// Closes what waited too long.
  void check_waits(clock::time_point now);

  [[nodiscard]] std::uint64_t id() const override { return id_; }
  [[nodiscard]] bool is_open() const override { return phase_ != phase::closed; }
  void reply(const http_reply& reply) override;
  void begin_stream(const http_fields& fields) override;
  void stream(std::string_view data) override;
  void end_stream(bool close) override;

 private:
  enum class phase : std::uint8_t { idle, head, body, busy, lingering, closed };
  struct request_parser;

  void read_more();
  void on_read(bool ended, std::size_t bytes);
  void parse();
  bool parse_some();
  void on_head();
  void find_place();
  [[nodiscard]] std::optional<http_reply> refuse_head() const;
  [[nodiscard]] http_reply reply_to_late() const;
  void refuse_rest(const http_reply& reply);
  void dispatch();
  void finish_request(bool keep_alive);
  void linger();

  void queue(std::string_view bytes);
  void write_some();
  void on_flushed();
  [[nodiscard]] std::size_t unsent_bytes() const;
  [[nodiscard]] bool is_too_slow_for(std::size_t more_bytes) const;

  boost::asio::ip::tcp::socket socket_;
  const std::uint64_t id_;
  http_session_context& shared_;
  http_place place_;
  phase phase_ = phase::idle;

  std::unique_ptr<request_parser> parser_;
  http_request request_;  ///< its head while busy; moved to the application otherwise
  http_head head_;        ///< of the request being read or answered
  std::string input_;     ///< received and not parsed yet
  std::array<char, 8192> chunk_{};
  bool is_reading_ = false, is_parsing_ = false;

  std::string writing_,
      queued_;  ///< in flight, of which written_ bytes are gone; and waiting behind it
  std::size_t written_ = 0;
  bool is_writing_ = false;
  bool is_shut_down_ = false;  ///< our sending side
  bool drops_unread_ = false;  ///< lingering needs no reading: the client has nothing on its way

  clock::time_point read_deadline_;
  clock::time_point
      moved_at_;  ///< when the kernel last took bytes, or the first of the unsent came
};

}  // namespace troupe
