#include "actors/gateway/http_port.hpp"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <iterator>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>

#include "actors/gateway/http_places.hpp"
#include "actors/gateway/http_service.hpp"
#include "actors/gateway/http_session.hpp"
#include "config/limits.hpp"
#include "kernels/base/thread_pool.hpp"

namespace troupe {
namespace asio = boost::asio;
namespace {

using asio::ip::tcp;
using asio_error = boost::system::error_code;

/// Jobs hold it beyond the port's life, so that what they post late goes nowhere safely.
using shared_context = std::shared_ptr<asio::io_context>;

class http_server final : public http_port {
 public:
  http_server(const http_port_options& options, const port_services& services, shared_context io,
              tcp::acceptor acceptor)
      : io_(std::move(io)),
        keep_running_(io_->get_executor()),
        acceptor_(std::move(acceptor)),
        accept_timer_(*io_),
        sweep_timer_(*io_),
        grace_timer_(*io_),
        port_(acceptor_.local_endpoint().port()),
        service_(options.version, services,
                 [io = io_](std::function<void()> task) { asio::post(*io, std::move(task)); }),
        places_(options.bounds) {
    sessions_shared_.application = &service_;
    sessions_shared_.bounds = options.bounds;
    sessions_shared_.bodies = std::make_shared<byte_budget>(options.bounds.bodies_bytes_max);
    sessions_shared_.important_bodies =
        std::make_shared<byte_budget>(options.bounds.important_bodies_bytes_max);
    sessions_shared_.find_place = [this](std::uint64_t id, bool is_important) {
      return find_place(id, is_important);
    };
    sessions_shared_.on_waiting = [this](std::uint64_t id, bool waits) {
      waits ? places_.begin_wait(id, http_session::clock::now()) : places_.end_wait(id);
    };
    sessions_shared_.on_closed = [this](std::uint64_t id) {
      sessions_.erase(id);
      places_.leave(id);
      end_if_drained();
    };
    accept_next();
    sweep_later();
    start_thread();
  }

  ~http_server() override { stop(std::chrono::milliseconds(0)); }

  [[nodiscard]] std::uint16_t local_port() const override { return port_; }

  void deliver(std::vector<outbound> burst) override {
    const std::lock_guard lock(inbox_mutex_);
    inbox_.insert(inbox_.end(), std::make_move_iterator(burst.begin()),
                  std::make_move_iterator(burst.end()));
    // One wake-up empties the whole inbox; what arrives before it joins it.
    if (std::exchange(inbox_wakes_, true)) return;
    asio::post(*io_, [this] { take_inbox(); });
  }

  void stop(std::chrono::milliseconds grace) override {
    const std::lock_guard lock(stop_mutex_);
    if (!thread_.joinable()) return;
    asio::post(*io_, [this, grace] { begin_stop(grace); });
    thread_.join();
  }

 private:
  void start_thread() {
    // Signals are for the main thread.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] {
      set_thread_slice(std::chrono::microseconds{limits::port_slice_us});
      io_->run();
    });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_setname_np(thread_.native_handle(), "troupe-http");
  }

  void accept_next() {
    acceptor_.async_accept([this](const asio_error& failure, tcp::socket socket) {
      if (failure == asio::error::operation_aborted || sessions_shared_.draining) return;
      if (failure) return accept_later();
      open_session(std::move(socket));
      accept_next();
    });
  }

  /// No file descriptor left, most likely: the next try waits for one to come free.
  void accept_later() {
    accept_timer_.expires_after(sessions_shared_.bounds.sweep_interval);
    accept_timer_.async_wait([this](const asio_error& failure) {
      if (!failure && !sessions_shared_.draining) accept_next();
    });
  }

  void open_session(tcp::socket socket) {
    const http_place place =
        make_room(http_place::ordinary) ? http_place::ordinary : http_place::reserve;
    if (place == http_place::reserve && !make_room(place)) return;
    asio_error ignored;
    // Events are small and each is waited for: Nagle would hold every second one back.
    socket.set_option(tcp::no_delay(true), ignored);
    const std::uint64_t id = next_session_id_++;
    const auto session =
        std::make_shared<http_session>(std::move(socket), id, sessions_shared_, place);
    sessions_.emplace(id, session);
    const auto now = http_session::clock::now();
    places_.enter(id, place, now);
    places_.begin_wait(id, now);
    session->start();
  }

  /// True when one more connection may have the place, perhaps because another gave way.
  bool make_room(http_place place) {
    if (places_.has_room(place)) return true;
    const auto waiting = places_.gives_way(place, http_session::clock::now());
    return waiting && sessions_.at(*waiting)->give_way();
  }

  /// The place for a request of a connection that is beyond the ordinary ones.
  http_place find_place(std::uint64_t id, bool is_important) {
    const http_place before = places_.of(id);
    http_place found = http_place::reserve;
    if (make_room(http_place::ordinary)) {
      found = http_place::ordinary;
    } else if (is_important &&
               (before == http_place::important || make_room(http_place::important))) {
      found = http_place::important;
    }
    // Back in the reserve it hears 503 and ends.
    if (found == http_place::reserve && before != found) make_room(found);
    if (found != before) places_.enter(id, found, http_session::clock::now());
    return found;
  }

  void take_inbox() {
    std::vector<outbound> burst;
    {
      const std::lock_guard lock(inbox_mutex_);
      burst.swap(inbox_);
      inbox_wakes_ = false;
    }
    // What a VIP waits for is written first; a request's messages are all of one lane.
    std::stable_sort(burst.begin(), burst.end(), [](const outbound& a, const outbound& b) {
      return a.header.service < b.header.service;
    });
    service_.deliver(burst);
  }

  void sweep_later() {
    sweep_timer_.expires_after(sessions_shared_.bounds.sweep_interval);
    sweep_timer_.async_wait([this](const asio_error& failure) {
      if (failure || is_drained_) return;
      const auto now = http_session::clock::now();
      for (const auto& session : all_sessions()) session->check_waits(now);
      sweep_later();
    });
  }

  /// A copy: sessions leave the map when they close.
  std::vector<std::shared_ptr<http_session>> all_sessions() const {
    std::vector<std::shared_ptr<http_session>> all;
    all.reserve(sessions_.size());
    for (const auto& [id, session] : sessions_) all.push_back(session);
    return all;
  }

  void begin_stop(std::chrono::milliseconds grace) {
    sessions_shared_.draining = true;
    asio_error ignored;
    acceptor_.close(ignored);
    accept_timer_.cancel();
    for (const auto& session : all_sessions()) session->drain();
    grace_timer_.expires_after(grace);
    grace_timer_.async_wait([this](const asio_error& failure) {
      if (failure) return;
      for (const auto& session : all_sessions()) session->close(errc::unavailable);
    });
    end_if_drained();
  }

  /// Lets run() return: nothing is left to wait for.
  void end_if_drained() {
    if (!sessions_shared_.draining || !sessions_.empty()) return;
    is_drained_ = true;
    grace_timer_.cancel();
    sweep_timer_.cancel();
    keep_running_.reset();
  }

  shared_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> keep_running_;
  tcp::acceptor acceptor_;
  asio::steady_timer accept_timer_, sweep_timer_, grace_timer_;
  const std::uint16_t port_;
  http_service service_;
  http_session_context sessions_shared_;
  std::unordered_map<std::uint64_t, std::shared_ptr<http_session>> sessions_;
  http_places places_;
  std::uint64_t next_session_id_ = 1;
  bool is_drained_ = false;

  std::mutex inbox_mutex_;
  std::vector<outbound> inbox_;
  bool inbox_wakes_ = false;  ///< a take_inbox() is on its way

  std::mutex stop_mutex_;
  std::thread thread_;
};

result<void> check_options(const http_port_options& options, const tenancy& tenants,
                           const tcp::endpoint& endpoint) {
  if (tenants.http_keys().empty() && !endpoint.address().is_loopback()) {
    return error{
        errc::invalid_argument,
        fmt::format("HTTP on {} can be reached from other machines and needs an API key: set "
                    "one, or listen on 127.0.0.1",
                    options.host)};
  }
  return {};
}

}  // namespace

result<std::unique_ptr<http_port>> http_port::start(const http_port_options& options,
                                                    const port_services& services) {
  const auto failed = [&](const asio_error& failure) {
    const bool in_use = failure == asio::error::address_in_use;
    return error{
        errc::unavailable,
        fmt::format("cannot listen for HTTP on {}:{}: {}{}", options.host, options.port,
                    failure.message(),
                    in_use ? "; choose another with --http, port 0 picks a free one" : "")};
  };
  auto io = std::make_shared<asio::io_context>(1);  // one thread runs it
  asio_error failure;
  tcp::resolver resolver(*io);
  const auto found =
      resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, failure);
  if (failure) return failed(failure);
  const tcp::endpoint endpoint = found.begin()->endpoint();
  TROUPE_TRY_VOID(check_options(options, *services.tenants, endpoint));
  tcp::acceptor acceptor(*io);
  acceptor.open(endpoint.protocol(), failure);
  if (!failure) acceptor.set_option(tcp::acceptor::reuse_address(true), failure);
  if (!failure) acceptor.bind(endpoint, failure);
  if (!failure) acceptor.listen(tcp::acceptor::max_listen_connections, failure);
  if (failure) return failed(failure);
  return std::unique_ptr<http_port>(
      std::make_unique<http_server>(options, services, std::move(io), std::move(acceptor)));
}

}  // namespace troupe
