#include "bench/serve/http_connection.hpp"

#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/error.hpp>
#include <fmt/format.h>

namespace troupe::bench {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

http_connection::http_connection(asio::io_context& io, asio::ip::tcp::endpoint server)
    : socket_(io), server_(std::move(server)) {}

void http_connection::ask(std::string request, http_listener listener) {
  request_ = std::move(request);
  listener_ = std::move(listener);
  heard_at_ = clock::now();
  input_.clear();
  parser_.emplace();
  parser_->eager(true);
  parser_->body_limit(boost::none);
  may_retry_ = socket_.is_open();
  may_retry_ ? write() : connect();
}

void http_connection::abandon(error why) {
  close();
  finish(std::move(why));
}

void http_connection::connect() {
  socket_.async_connect(server_, [self = shared_from_this()](const error_code& failure) {
    if (!self->listener_.on_end) return;
    if (failure) return self->fail(failure, "connecting");
    error_code ignored;
    self->socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
    self->write();
  });
}

void http_connection::write() {
  asio::async_write(socket_, asio::buffer(request_),
                    [self = shared_from_this()](const error_code& failure, std::size_t) {
                      if (!self->listener_.on_end) return;
                      failure ? self->fail(failure, "sending") : self->read();
                    });
}

void http_connection::read() {
  socket_.async_read_some(asio::buffer(chunk_), [self = shared_from_this()](
                                                    const error_code& failure, std::size_t bytes) {
    if (self->listener_.on_end) self->on_read(failure, bytes);
  });
}

void http_connection::on_read(const error_code& failure, std::size_t bytes) {
  heard_at_ = clock::now();
  if (failure == asio::error::eof && !may_retry_) {
    const bool answered = parser_->got_some();  // without a byte, put_eof is content
    error_code ignored;
    parser_->put_eof(ignored);
    hand_on_body();
    close();
    if (!listener_.on_end) return;
    if (answered && parser_->is_done()) return finish(parser_->get().result_int());
    return finish(
        error{errc::unavailable, "the server closed the connection before its answer ended"});
  }
  if (failure) return fail(failure, "receiving");
  may_retry_ = false;
  input_.append(chunk_.data(), bytes);
  if (parse()) read();
}

/// Whether more of the answer is to come.
bool http_connection::parse() {
  error_code failure;
  while (!input_.empty() && !parser_->is_done() && !failure) {
    const std::size_t used = parser_->put(asio::buffer(input_), failure);
    input_.erase(0, used);
  }
  hand_on_body();
  if (!listener_.on_end) return false;
  if (failure && failure != http::error::need_more) {
    close();
    finish(error{errc::corrupt, fmt::format("not an HTTP answer: {}", failure.message())});
    return false;
  }
  if (!parser_->is_done()) return true;
  if (!parser_->keep_alive() || !input_.empty()) close();
  finish(parser_->get().result_int());
  return false;
}

void http_connection::hand_on_body() {
  std::string& body = parser_->get().body();
  if (body.empty()) return;
  const std::string bytes = std::exchange(body, {});
  // The listener may abandon the request, and its functions with it.
  const auto on_body = listener_.on_body;
  if (on_body) on_body(parser_->get().result_int(), bytes);
}

void http_connection::fail(const error_code& failure, std::string_view doing) {
  close();
  if (std::exchange(may_retry_, false)) return connect();
  finish(error{errc::unavailable, fmt::format("{}: {}", doing, failure.message())});
}

void http_connection::finish(result<unsigned> outcome) {
  const auto on_end = std::exchange(listener_, {}).on_end;
  if (on_end) on_end(std::move(outcome));
}

void http_connection::close() {
  error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
  socket_.close(ignored);
}

}  // namespace troupe::bench
