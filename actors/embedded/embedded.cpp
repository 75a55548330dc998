#include "actors/embedded/embedded.hpp"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>

#include <caf/send.hpp>
#include <fmt/format.h>

namespace troupe {

namespace {

constexpr std::string_view embedded_tenant = "embedded";

/// The port without a socket: hands each event to whoever asked for it.
class embedded_port final : public client_port {
 public:
  using sink = std::function<void(const outbound&)>;

  explicit embedded_port(const port_services& services) : services_(services) {}

  result<void> submit(std::string request_id, troupe::submit request, lane service, sink receive) {
    {
      const std::lock_guard lock(mutex_);
      if (!sinks_.emplace(request_id, std::move(receive)).second)
        return error{errc::already_exists, fmt::format("request id '{}' is in use", request_id)};
    }
    envelope_header header;
    header.kind = message_kind::submit;
    header.request_id = request_id;
    header.service = service;
    auto entered = services_.gateway->submit({{services_.port_index, request_id},
                                              std::move(header),
                                              std::move(request),
                                              std::string(embedded_tenant),
                                              false});
    if (!entered) forget(request_id);
    return entered;
  }

  void cancel(const std::string& request_id) {
    services_.gateway->cancel({services_.port_index, request_id}, std::string(embedded_tenant),
                              request_id);
  }

  void deliver(std::vector<outbound> burst) override {
    // Sinks only pass on, so that the lock may be held: stop() must not say its last word in
    // between.
    const std::lock_guard lock(mutex_);
    for (const outbound& event : burst) {
      const auto found = sinks_.find(event.header.request_id);
      if (found == sinks_.end()) continue;
      found->second(event);
      if (event.header.kind == message_kind::finished || event.header.kind == message_kind::error)
        sinks_.erase(found);
    }
  }

  void stop(std::chrono::milliseconds) override {
    const std::lock_guard lock(mutex_);
    for (const auto& [request_id, receive] : sinks_) {
      envelope_header header;
      header.kind = message_kind::error;
      header.request_id = request_id;
      receive({{services_.port_index, request_id},
               header,
               error_reply{std::string(to_string(errc::unavailable)), "the engine was shut down"}});
    }
    sinks_.clear();
  }

 private:
  void forget(const std::string& request_id) {
    const std::lock_guard lock(mutex_);
    sinks_.erase(request_id);
  }

  port_services services_;
  std::mutex mutex_;
  std::map<std::string, sink> sinks_;  // bounded by the gate's credits
};

}  // namespace

struct generation::shared {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<generation_part> parts;
  std::optional<result<finished>> outcome;
  std::function<void()> cancel;

  void take(const outbound& event) {
    const std::lock_guard lock(mutex);
    if (const auto* part = std::get_if<delta>(&event.body))
      parts.push_back({*part, event.header.sequence, event.header.offset});
    if (const auto* summary = std::get_if<finished>(&event.body)) outcome = *summary;
    if (const auto* failure = std::get_if<error_reply>(&event.body))
      outcome = error{errc_named(failure->code), failure->message};
    changed.notify_all();
  }
};

generation::generation(std::shared_ptr<shared> stream) : stream_(std::move(stream)) {}
generation::generation(generation&&) noexcept = default;
generation& generation::operator=(generation&&) noexcept = default;
generation::~generation() {
  if (stream_ != nullptr) cancel();
}

std::optional<generation_part> generation::next() {
  std::unique_lock lock(stream_->mutex);
  // Ends for certain: the engine answers every admitted request, at the latest when it is shut
  // down.
  stream_->changed.wait(lock,
                        [this] { return !stream_->parts.empty() || stream_->outcome.has_value(); });
  if (stream_->parts.empty()) return std::nullopt;
  generation_part part = std::move(stream_->parts.front());
  stream_->parts.pop_front();
  return part;
}

const result<finished>& generation::outcome() const {
  const std::lock_guard lock(stream_->mutex);
  TROUPE_CHECK(stream_->outcome.has_value());
  return *stream_->outcome;
}

result<std::string> generation::text() {
  std::string all;
  while (auto part = next()) {
    if (part->sequence == 0) all += part->text;
  }
  if (!outcome()) return outcome().failure();
  return all;
}

void generation::cancel() {
  std::function<void()> order;
  {
    const std::lock_guard lock(stream_->mutex);
    if (!stream_->outcome) order = stream_->cancel;
  }
  if (order) order();
}

struct embedded_engine::state {
  std::unique_ptr<engine> core;
  embedded_port* port = nullptr;
  std::atomic<std::uint64_t> request_count{0};
};

embedded_engine::embedded_engine(std::unique_ptr<state> owned) : state_(std::move(owned)) {}
embedded_engine::embedded_engine(embedded_engine&&) noexcept = default;
embedded_engine& embedded_engine::operator=(embedded_engine&&) noexcept = default;
embedded_engine::~embedded_engine() = default;

result<embedded_engine> embedded_engine::open(const server_config& config,
                                              const engine_hooks& hooks) {
  auto owned = std::make_unique<state>();
  TROUPE_TRY(owned->core, engine::start(config, hooks));
  TROUPE_TRY(auto* added,
             owned->core->add_port(
                 [](const port_services& services) -> result<std::unique_ptr<client_port>> {
                   return std::unique_ptr<client_port>(std::make_unique<embedded_port>(services));
                 }));
  owned->port = static_cast<embedded_port*>(added);
  owned->core->open();
  return embedded_engine(std::move(owned));
}

result<generation> embedded_engine::generate(submit request, lane service) {
  auto stream = std::make_shared<generation::shared>();
  const std::string id = fmt::format("generation-{}", ++state_->request_count);
  stream->cancel = [port = state_->port, id] { port->cancel(id); };
  TROUPE_TRY_VOID(state_->port->submit(id, std::move(request), service,
                                       [stream](const outbound& event) { stream->take(event); }));
  return generation(std::move(stream));
}

result<void> embedded_engine::generate_to(const caf::actor& receiver, std::string request_id,
                                          submit request, lane service) {
  return state_->port->submit(
      std::move(request_id), std::move(request), service, [receiver](const outbound& event) {
        caf::anon_send(receiver, generation_event{event.header.request_id, event.header.sequence,
                                                  event.header.offset, event.body});
      });
}

void embedded_engine::cancel(const std::string& request_id) {
  state_->port->cancel(request_id);
}
caf::actor_system& embedded_engine::system() {
  return state_->core->system();
}
engine& embedded_engine::core() {
  return *state_->core;
}

}  // namespace troupe
