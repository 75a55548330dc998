// One kept-alive HTTP/1.1 connection as a client: one request at a time, its answer handed on as it
// comes. It runs on the one thread of its io_context and has at most one operation under way.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "kernels/base/result.hpp"

namespace troupe::bench {

struct http_listener {
  /// Bytes of the answer's body, in order.
  std::function<void(unsigned status, std::string_view bytes)> on_body;
  /// Called once: the status, or why there is no whole answer.
  std::function<void(result<unsigned> status)> on_end;
};

class http_connection : public std::enable_shared_from_this<http_connection> {
 public:
  using clock = std::chrono::steady_clock;

  http_connection(boost::asio::io_context& io, boost::asio::ip::tcp::endpoint server);

  /// request: the whole head and body. Connects where there is no connection; one that the server
  /// had closed meanwhile is opened again once.
  void ask(std::string request, http_listener listener);
  /// Ends the request with this error, and the connection with it.
  void abandon(error why);

  /// Whether another request may be asked on it.
  [[nodiscard]] bool is_open() const { return socket_.is_open(); }
  /// When the server was last heard of, or asked.
  [[nodiscard]] clock::time_point heard_at() const { return heard_at_; }

 private:
  using response_parser = boost::beast::http::response_parser<boost::beast::http::string_body>;

  void connect();
  void write();
  void read();
  void on_read(const boost::system::error_code& failure, std::size_t bytes);
  bool parse();
  void hand_on_body();
  void fail(const boost::system::error_code& failure, std::string_view doing);
  void finish(result<unsigned> outcome);
  void close();

  boost::asio::ip::tcp::socket socket_;
  boost::asio::ip::tcp::endpoint server_;
  std::string request_, input_;
  std::array<char, 65'536> chunk_;
  std::optional<response_parser> parser_;
  http_listener listener_;
  clock::time_point heard_at_{};
  bool may_retry_ = false;  ///< an old connection, which has answered nothing yet
};

}  // namespace troupe::bench
