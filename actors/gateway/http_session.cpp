#include "actors/gateway/http_session.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <fmt/format.h>

#include "actors/gateway/http_routes.hpp"

namespace troupe {
namespace beast = boost::beast;
namespace {

std::string to_text(beast::string_view view) {
  return {view.data(), view.size()};
}

/// Strings that grew beyond this for one reply are given back to the allocator.
constexpr std::size_t kept_capacity_bytes_max = 65'536;

http_reply reply_to_malformed(const beast::error_code& failure, const http_bounds& bounds) {
  if (failure == beast::http::error::body_limit) {
    return make_error_reply({errc::invalid_argument, fmt::format("the body is larger than {} bytes",
                                                                 bounds.body_bytes_max)},
                            413);
  }
  if (failure == beast::http::error::header_limit) {
    return make_error_reply(
        {errc::invalid_argument,
         fmt::format("the header is larger than {} bytes", bounds.header_bytes_max)},
        431);
  }
  const unsigned status = failure == beast::http::error::bad_version ? 505 : 400;
  return make_error_reply(
      {errc::invalid_argument, fmt::format("not an HTTP/1.1 request: {}", failure.message())},
      status);
}

http_reply reply_to_full(const http_bounds& bounds) {
  return make_error_reply(
      {errc::overloaded, fmt::format("all {} connections are taken; what is left is for the vip "
                                     "lane (X-Troupe-Lane), /health, /metrics and /version",
                                     bounds.session_count_max)},
      503);
}

}  // namespace

struct http_session::request_parser {
  beast::http::request_parser<beast::http::string_body> beast;
};

http_session::http_session(boost::asio::ip::tcp::socket socket, std::uint64_t id,
                           http_session_context& shared, http_place place)
    : socket_(std::move(socket)),
      id_(id),
      shared_(shared),
      place_(place),
      read_deadline_(clock::now() + (place == http_place::reserve ? shared.bounds.reserve_wait_max
                                                                  : shared.bounds.idle_wait_max)) {}

http_session::~http_session() = default;

void http_session::start() {
  read_more();
}

void http_session::drain() {
  if (phase_ == phase::lingering) return;
  if (phase_ != phase::busy) {
    if (unsent_bytes() == 0) return close(errc::unavailable);
    drops_unread_ = true;
    linger();
  }
}

void http_session::close(errc why) {
  if (phase_ == phase::closed) return;
  const bool was_busy = phase_ == phase::busy;
  phase_ = phase::closed;
  boost::system::error_code ignored;
  socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_both, ignored);
  socket_.close(ignored);
  parser_.reset();
  request_ = {};
  if (was_busy) shared_.application->connection_lost(id_, why);
  shared_.on_closed(id_);
}

bool http_session::give_way() {
  boost::system::error_code ignored;
  if (place_ != http_place::reserve && socket_.available(ignored) != 0) return false;
  close(errc::overloaded);
  return true;
}

void http_session::check_waits(clock::time_point now) {
  if (phase_ == phase::closed) return;
  const bool is_sending = unsent_bytes() != 0;
  if (is_sending && now > moved_at_ + shared_.bounds.write_wait_max)
    return close(errc::slow_client);
  if (now <= read_deadline_ || phase_ == phase::busy) return;
  const bool is_asked = phase_ == phase::head || phase_ == phase::body;
  if (is_asked || (place_ == http_place::reserve && phase_ == phase::idle))
    return refuse_rest(reply_to_late());
  if (!is_sending) close(errc::deadline_exceeded);
}

// Reading.

void http_session::read_more() {
  if (is_reading_ || phase_ == phase::closed) return;
  const bool reads_ahead = phase_ == phase::busy || phase_ == phase::idle;
  if (reads_ahead && input_.size() >= shared_.bounds.pipeline_bytes_max) return;
  is_reading_ = true;
  socket_.async_read_some(
      boost::asio::buffer(chunk_),
      [self = shared_from_this()](const boost::system::error_code& failure, std::size_t bytes) {
        self->is_reading_ = false;
        self->on_read(static_cast<bool>(failure), bytes);
      });
}

void http_session::on_read(bool ended, std::size_t bytes) {
  if (phase_ == phase::closed) return;
  if (ended) {
    // A reply that is complete still goes out to a client that only stopped sending.
    if (phase_ == phase::busy || unsent_bytes() == 0) return close(errc::aborted);
    drops_unread_ = true;
    if (phase_ != phase::lingering) linger();
    return;
  }
  if (phase_ != phase::lingering) {
    input_.append(chunk_.data(), bytes);
    parse();
  }
  read_more();
}

void http_session::parse() {
  if (is_parsing_)
    return;  // a reply from within dispatch(); the loop below goes on with what is left
  is_parsing_ = true;
  while (parse_some()) {
  }
  is_parsing_ = false;
}

/// One move of the parser. False when it needs more bytes or the request is complete and not
/// answered.
bool http_session::parse_some() {
  if (phase_ == phase::idle) {
    // Empty lines before a request line are ignored (RFC 9112, section 2.2).
    input_.erase(0, std::min(input_.find_first_not_of("\r\n"), input_.size()));
    // Someone who sends requests without reading replies waits for the replies.
    if (input_.empty() || unsent_bytes() >= shared_.bounds.outbox_bytes_max) return false;
    phase_ = phase::head;
    shared_.on_waiting(id_, false);
    if (place_ != http_place::reserve)
      read_deadline_ = clock::now() + shared_.bounds.request_wait_max;
    parser_ = std::make_unique<request_parser>();
    parser_->beast.header_limit(shared_.bounds.header_bytes_max);
    parser_->beast.body_limit(shared_.bounds.body_bytes_max);
    request_.lease = byte_lease(shared_.bodies);
  }
  if ((phase_ != phase::head && phase_ != phase::body) || input_.empty()) return false;

  auto& parser = parser_->beast;
  beast::error_code failure;
  const std::size_t used = parser.put(boost::asio::buffer(input_), failure);
  input_.erase(0, used);
  const bool needs_more = failure == beast::http::error::need_more;
  if (failure && !needs_more) {
    refuse_rest(reply_to_malformed(failure, shared_.bounds));
    return false;
  }
  if (!request_.lease.grow_to(parser.get().body().size())) {
    refuse_rest(
        make_error_reply({errc::overloaded, "too many request bodies are arriving at once"}));
    return false;
  }
  if (phase_ == phase::head && parser.is_header_done()) {
    phase_ = phase::body;
    parser.eager(true);
    on_head();
    if (phase_ != phase::body) return phase_ == phase::idle;
  }
  if (parser.is_done()) {
    dispatch();
    return true;
  }
  return !needs_more && used != 0;
}

void http_session::on_head() {
  const auto& message = parser_->beast.get();
  head_ = {};
  head_.method = to_text(message.method_string());
  head_.path = path_of({message.target().data(), message.target().size()});
  head_.authorization = to_text(message[beast::http::field::authorization]);
  if (const auto found = message.find("X-Troupe-Lane"); found != message.end()) {
    head_.lane = to_text(found->value());
  }
  head_.version_1_0 = message.version() < 11;
  head_.host_count = message.count(beast::http::field::host);
  head_.expects_continue =
      !head_.version_1_0 && beast::iequals(message[beast::http::field::expect], "100-continue");
  find_place();
  head_.keep_alive = message.keep_alive() && place_ != http_place::reserve;

  auto refusal = refuse_head();
  if (!refusal) {
    if (head_.expects_continue && !parser_->beast.is_done()) queue("HTTP/1.1 100 Continue\r\n\r\n");
    return;
  }
  if (!parser_->beast.is_done()) return refuse_rest(*refusal);
  phase_ = phase::busy;
  reply(*refusal);
}

/// Beyond the ordinary places each request has to be worth its own.
void http_session::find_place() {
  if (place_ == http_place::ordinary || is_probe(head_)) return;
  place_ = shared_.find_place(id_, shared_.application->is_important(head_));
  if (place_ == http_place::reserve) return;
  read_deadline_ = clock::now() + shared_.bounds.request_wait_max;
  if (place_ == http_place::important) request_.lease = byte_lease(shared_.important_bodies);
}

std::optional<http_reply> http_session::refuse_head() const {
  // RFC 9112, section 3.2.
  if (head_.host_count > 1 || (head_.host_count == 0 && !head_.version_1_0)) {
    http_reply refusal = make_error_reply(
        {errc::invalid_argument,
         fmt::format("an HTTP/1.1 request has one Host field, this one has {}", head_.host_count)});
    refusal.close = true;
    return refusal;
  }
  if (place_ == http_place::reserve && !is_probe(head_)) return reply_to_full(shared_.bounds);
  return shared_.application->refuse_early(head_);
}

http_reply http_session::reply_to_late() const {
  if (place_ == http_place::reserve) return reply_to_full(shared_.bounds);
  return make_error_reply(
      {errc::deadline_exceeded, fmt::format("the request did not arrive within {} ms",
                                            shared_.bounds.request_wait_max.count())},
      408);
}

/// Refuses what is still arriving: the rest of the connection is not understood, or not wanted.
void http_session::refuse_rest(const http_reply& reply) {
  const bool head_only = head_.method == "HEAD" && phase_ == phase::body;
  queue(format_reply(reply, head_only, false));
  linger();
}

void http_session::dispatch() {
  request_.head = head_;
  request_.body = std::move(parser_->beast.get().body());
  parser_.reset();
  phase_ = phase::busy;
  shared_.application->serve(shared_from_this(), std::exchange(request_, {}));
}

// Answering.

void http_session::reply(const http_reply& reply) {
  if (phase_ != phase::busy) return;
  const bool keep_alive = head_.keep_alive && !reply.close && !shared_.draining;
  queue(format_reply(reply, head_.method == "HEAD", keep_alive));
  finish_request(keep_alive);
}

void http_session::begin_stream(const http_fields& fields) {
  if (phase_ != phase::busy) return;
  // Without chunks only the end of the connection ends a body of unknown length.
  if (head_.version_1_0) head_.keep_alive = false;
  queue(format_stream_head(fields, !head_.version_1_0, head_.keep_alive));
}

void http_session::stream(std::string_view data) {
  if (phase_ != phase::busy || data.empty()) return;
  if (is_too_slow_for(data.size())) return close(errc::slow_client);
  if (head_.version_1_0) return queue(data);
  std::string framed;
  framed.reserve(data.size() + 20);
  append_chunk(framed, data);
  queue(framed);
}

void http_session::end_stream(bool close) {
  if (phase_ != phase::busy) return;
  if (!head_.version_1_0) queue(last_chunk);
  finish_request(head_.keep_alive && !close && !shared_.draining);
}

void http_session::finish_request(bool keep_alive) {
  parser_.reset();
  if (!keep_alive) {
    drops_unread_ = input_.empty();
    return linger();
  }
  phase_ = phase::idle;
  read_deadline_ = clock::now() + shared_.bounds.idle_wait_max;
  parse();
  read_more();
}

/// Ends the connection once the reply is out. Bytes that the client still sends are read and
/// dropped for a while: closing on unread bytes would reset the connection and could destroy the
/// reply on its way.
void http_session::linger() {
  phase_ = phase::lingering;
  parser_.reset();
  request_ = {};
  input_ = {};
  read_deadline_ = clock::now() + shared_.bounds.write_wait_max;
  if (unsent_bytes() == 0) on_flushed();
}

// Writing.

std::size_t http_session::unsent_bytes() const {
  return writing_.size() - written_ + queued_.size();
}

/// What comes when nothing waits is never too much.
bool http_session::is_too_slow_for(std::size_t more_bytes) const {
  const http_bounds& bounds = shared_.bounds;
  const std::size_t behind = unsent_bytes();
  if (behind == 0 || behind + more_bytes <= bounds.outbox_bytes_max) return false;
  const bool is_stuck = clock::now() - moved_at_ > bounds.stuck_wait_max;
  return is_stuck || behind + more_bytes > bounds.behind_bytes_max;
}

void http_session::queue(std::string_view bytes) {
  if (unsent_bytes() == 0) moved_at_ = clock::now();
  queued_.append(bytes);
  if (!is_writing_) write_some();
}

void http_session::write_some() {
  if (written_ == writing_.size()) {
    writing_.clear();
    written_ = 0;
    if (writing_.capacity() > kept_capacity_bytes_max) writing_ = {};
    std::swap(writing_, queued_);
  }
  if (writing_.empty()) return on_flushed();
  is_writing_ = true;
  socket_.async_write_some(
      boost::asio::buffer(writing_.data() + written_, writing_.size() - written_),
      [self = shared_from_this()](const boost::system::error_code& failure, std::size_t bytes) {
        self->is_writing_ = false;
        if (!self->is_open()) return;
        if (failure) return self->close(errc::aborted);
        self->written_ += bytes;
        self->moved_at_ = clock::now();
        self->write_some();
        if (self->phase_ == phase::idle && !self->input_.empty()) {
          self->parse();
          self->read_more();
        }
      });
}

void http_session::on_flushed() {
  if (phase_ == phase::idle) shared_.on_waiting(id_, true);
  if (phase_ != phase::lingering || is_shut_down_) return;
  if (drops_unread_) return close(errc::aborted);
  is_shut_down_ = true;
  read_deadline_ = clock::now() + shared_.bounds.linger_wait_max;
  boost::system::error_code ignored;
  socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_send, ignored);
}

}  // namespace troupe
