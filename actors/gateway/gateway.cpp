#include "actors/gateway/gateway.hpp"

#include <map>

#include "kernels/base/hash.hpp"

namespace troupe {

/// A request that was admitted, and what preparing it gave.
struct preparation {
  inbound_submit request;
  std::uint64_t payload_bytes = 0;
  monotonic_time arrival{};
  std::optional<result<prepared_prompt>> outcome;
  std::int32_t priority = 0;
  std::optional<std::chrono::milliseconds> due;  ///< from arrival
  admission admitted;
};
using preparation_ptr = std::shared_ptr<preparation>;

struct admitted {
  preparation_ptr what;
};
struct prepared {
  preparation_ptr what;
};

}  // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::admitted)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::prepared)

namespace troupe {

namespace {

using flush_atom = caf::atom_constant<caf::atom("flush")>;

/// Runs on a tokenizer thread: payload -> submit -> tokens.
void prepare(preparation& what, const intake& prompts, std::uint64_t drawn_seed) {
  submit request;
  if (auto* decoded = std::get_if<submit>(&what.request.body)) {
    request = std::move(*decoded);
  } else {
    auto body = decode_body(message_kind::submit, std::get<std::string>(what.request.body));
    if (!body) {
      what.outcome = std::move(body).failure();
      return;
    }
    request = std::get<submit>(std::move(*body));
  }
  what.priority = static_cast<std::int32_t>(request.priority);
  if (request.due_ms) what.due = std::chrono::milliseconds(*request.due_ms);
  const auto today = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  what.outcome = prompts.prepare(request, drawn_seed, today);
}

std::uint64_t payload_bytes_of(const inbound_submit& request) {
  if (const auto* payload = std::get_if<std::string>(&request.body)) return payload->size();
  const auto& decoded = std::get<submit>(request.body);
  return (decoded.prompt ? decoded.prompt->size() : 0) +
         (decoded.messages_json ? decoded.messages_json->size() : 0) +
         (decoded.prompt_token_ids ? decoded.prompt_token_ids->size() * sizeof(std::int64_t) : 0);
}

// Of one request:  preparing --prepared--> routed
//                      \--error, cancelled--> answered
class gateway_state {
 public:
  static constexpr const char* name = "gateway";

  gateway_state(caf::event_based_actor* self, gateway_options options)
      : self_(self), options_(std::move(options)), outbox_(limits::gateway_port_count_max) {}

  caf::behavior make_behavior() {
    wake_promptly(options_.where);
    return {
        [this](const admitted& arrival) { begin(arrival.what); },
        [this](const prepared& ready) { route(ready.what); },
        [this](const cancel_by_client& order) {
          const auto found = preparing_.find({order.tenant, order.client_request_id});
          if (found != preparing_.end())
            found->second.cancelled = error{errc::aborted, "cancelled by the client"};
          else
            self_->send(options_.router, order);  // not urgent: it must not overtake its request
        },
        [this](const resume_by_client& order) { resume(order); },
        [this](const forget_client& gone) {
          for (auto& [key, entry] : preparing_) {
            if (entry.client == gone.client) entry.cancelled = gone.reason;
          }
          self_->send(options_.router, gone);  // behind every request of that client
        },
        [this](const client_events& news) {
          for (const outbound& event : news.events) post(event);
        },
        [this](const return_credits& credits) {
          for (const lane service : all_lanes)
            options_.gate->return_credits(service, credits.counts[to_index(service)]);
        },
        [this](flush_atom) { flush(); },
        [this](const begin_drain& order) {
          drain_ = order;
          drain_watcher_ = caf::actor_cast<caf::actor>(self_->current_sender());
          pass_drain_on();
        },
        [this](router_idle idle) {
          flush();  // every reply is here: request actors say their last word before the router
                    // hears of it
          if (drain_watcher_) self_->send(drain_watcher_, idle);
        },
    };
  }

 private:
  struct entry {
    client_ref client;  ///< who reads it now
    std::optional<error> cancelled;
  };

  void begin(const preparation_ptr& what) {
    what->arrival = what->request.arrival.value_or(options_.now());
    if (drain_) {
      options_.gate->return_bytes(what->payload_bytes);
      return refuse(*what, {errc::unavailable, "the server is shutting down"});
    }
    const auto key = std::pair{what->request.tenant, what->request.header.request_id};
    if (!preparing_.emplace(key, entry{what->request.client, {}}).second) {
      options_.gate->return_bytes(what->payload_bytes);
      refuse(*what, {errc::already_exists,
                     "a request of this id is being prepared already; choose another id"});
      return;
    }
    const std::uint64_t seed = mix_bits(options_.seed + ++drawn_count_);
    const lane service = what->request.header.service;
    if (service == lane::vip && what->payload_bytes <= limits::prepared_at_once_bytes_max) {
      prepare(*what, *options_.prompts, seed);
      return route(what);
    }
    options_.jobs->post(service, [what, prompts = options_.prompts, seed, service,
                                  self = caf::actor_cast<caf::actor>(self_)] {
      prepare(*what, *prompts, seed);
      send_to(self, prepared{what}, service == lane::vip);
    });
  }

  void route(const preparation_ptr& what) {
    options_.gate->return_bytes(what->payload_bytes);
    const auto key = std::pair{what->request.tenant, what->request.header.request_id};
    const auto found = preparing_.find(key);
    what->request.client = std::move(found->second.client);
    const std::optional<error> cancelled = std::move(found->second.cancelled);
    preparing_.erase(found);
    if (cancelled)
      refuse(*what, *cancelled);
    else if (!*what->outcome)
      refuse(*what, std::move(*what->outcome).failure());
    else if (const auto charged = charge(*what); !charged)
      refuse(*what, charged.failure());
    else
      hand_over(*what);
    pass_drain_on();
  }

  /// Its tenant pays what it can use at most, or it goes on in a lower lane. Errors: rate_limited,
  /// overloaded (the lower lane is full).
  result<void> charge(preparation& what) {
    const prepared_prompt& prompt = what.outcome->value();
    const std::uint64_t tokens =
        prompt.tokens->size() +
        std::uint64_t{prompt.params->stopping.max_tokens} * prompt.params->n;
    TROUPE_TRY(
        const admission charged,
        options_.tenants->charge(what.request.account, what.admitted, tokens, options_.now()));
    lane& service = what.request.header.service;
    if (charged.service != service) {
      TROUPE_TRY_VOID(options_.gate->move(service, charged.service));
      options_.measured->observe_demoted(service);
      service = charged.service;
    }
    what.admitted = charged;
    return {};
  }

  void hand_over(preparation& what) {
    auto ticket = std::make_shared<request_ticket>();
    prepared_prompt& prompt = what.outcome->value();
    ticket->id = static_cast<request_id>(++last_id_);
    ticket->client_request_id = what.request.header.request_id;
    ticket->tenant = what.request.tenant;
    ticket->client = what.request.client;
    ticket->service = what.request.header.service;
    ticket->priority = what.priority;
    ticket->resumable = what.request.resumable;
    ticket->prompt = std::move(prompt.tokens);
    ticket->params = std::move(prompt.params);
    ticket->arrival = what.arrival;
    ticket->account = what.request.account;
    ticket->admitted = what.admitted;
    ticket->share = options_.tenants->share(what.request.account);
    if (what.request.header.deadline_ms != 0)
      ticket->deadline = what.arrival + std::chrono::milliseconds(what.request.header.deadline_ms);
    if (what.due) ticket->due = what.arrival + *what.due;
    const lane service = ticket->service;
    send_in_lane(self_, service, options_.router, route_request{std::move(ticket)});
  }

  /// A request that is being prepared changes its reader here; the router says `accepted` to the
  /// new one.
  void resume(const resume_by_client& order) {
    const auto found = preparing_.find({order.tenant, order.client_request_id});
    if (found == preparing_.end())
      self_->send(options_.router, order);
    else
      found->second.client = order.client;
  }

  void pass_drain_on() {
    if (!drain_ || drain_passed_ || !preparing_.empty()) return;
    drain_passed_ = true;
    self_->send(options_.router, *drain_);
  }

  /// Answers a request that never reached the router. Its credit comes back.
  void refuse(const preparation& what, const error& reason) {
    const lane service = what.request.header.service;
    options_.gate->return_credits(service, 1);
    options_.measured->observe_refused(service, to_string(reason.code));
    envelope_header head = what.request.header;
    head.kind = message_kind::error;
    post({what.request.client, std::move(head),
          error_reply{std::string(to_string(reason.code)), reason.message}});
  }

  /// Everything that waits in the mailbox now leaves with it: the flush comes behind it. That of a
  /// VIP's event comes behind what is urgent alone.
  void post(outbound event) {
    const lane service = event.header.service;
    outbox_.at(event.client.port).push_back(std::move(event));
    bool& pending = service == lane::vip ? urgent_flush_pending_ : flush_pending_;
    if (!std::exchange(pending, true)) send_in_lane(self_, service, self_, flush_atom::value);
  }

  void flush() {
    flush_pending_ = urgent_flush_pending_ = false;
    for (std::size_t port = 0; port < outbox_.size(); ++port) {
      if (outbox_[port].empty()) continue;
      if (client_port* open = (*options_.ports)[port].load(std::memory_order_acquire))
        open->deliver(std::move(outbox_[port]));
      outbox_[port].clear();
    }
  }

  caf::event_based_actor* self_;
  gateway_options options_;
  std::map<std::pair<std::string, std::string>, entry> preparing_;  // bounded by the gate's credits
  std::vector<std::vector<outbound>> outbox_;
  std::optional<begin_drain> drain_;
  caf::actor drain_watcher_;
  std::uint64_t last_id_ = 0;
  std::uint64_t drawn_count_ = 0;
  bool flush_pending_ = false, urgent_flush_pending_ = false;
  bool drain_passed_ = false;
};

class actor_link final : public gateway_link {
 public:
  explicit actor_link(gateway_link_options options) : options_(std::move(options)) {}

  using gateway_link::submit;
  result<void> submit(inbound_submit request, std::string_view payload) override {
    const lane asked_for = request.header.service;
    const auto entered = options_.tenants->enter(request.account, asked_for, options_.now());
    if (!entered) return refuse(asked_for, entered.failure());
    const lane service = request.header.service = entered->service;
    const std::uint64_t bytes = payload.empty() ? payload_bytes_of(request) : payload.size();
    if (auto room = options_.gate->enter(service, bytes); !room)
      return refuse(service, room.failure());
    if (entered->demoted) options_.measured->observe_demoted(asked_for);
    if (!payload.empty()) request.body = std::string(payload);
    auto what = std::make_shared<preparation>();
    what->request = std::move(request);
    what->payload_bytes = bytes;
    what->admitted = *entered;
    send_to(options_.gateway, admitted{std::move(what)}, service == lane::vip);
    return {};
  }
  void cancel(client_ref client, std::string tenant, std::string request_id) override {
    send_to(options_.gateway,
            cancel_by_client{std::move(client), std::move(tenant), std::move(request_id)});
  }
  void resume(client_ref client, std::string tenant, std::string request_id,
              troupe::resume offsets) override {
    send_to(options_.gateway, resume_by_client{std::move(client), std::move(tenant),
                                               std::move(request_id), std::move(offsets)});
  }
  void client_gone(client_ref client) override {
    client_gone(std::move(client), {errc::aborted, "the client's connection is gone"});
  }
  /// Not urgent: it must not overtake the client's requests.
  void client_gone(client_ref client, error reason) override {
    send_to(options_.gateway, forget_client{std::move(client), std::move(reason)});
  }

 private:
  error refuse(lane service, const error& reason) const {
    options_.measured->observe_refused(service, to_string(reason.code));
    return reason;
  }

  gateway_link_options options_;
};

}  // namespace

caf::actor spawn_gateway(caf::actor_system& system, const gateway_options& options) {
  return spawn_actor<gateway_state>(system, options.where, options);
}

std::unique_ptr<gateway_link> make_link(gateway_link_options options) {
  return std::make_unique<actor_link>(std::move(options));
}

}  // namespace troupe
