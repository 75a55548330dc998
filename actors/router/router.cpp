#include "actors/router/router.hpp"

#include <fmt/format.h>

#include "actors/request/closing.hpp"
#include "actors/request/request.hpp"
#include "actors/router/directory.hpp"

namespace troupe {

namespace {

using expire_atom = caf::atom_constant<caf::atom("expire")>;

// Of one request:   waiting --started--> running --request_ended--> remembered --resume_ms_max-->
// forgotten
//                      \--refused, cancelled, drained--> forgotten
class router_state {
 public:
  static constexpr const char* name = "router";

  router_state(caf::event_based_actor* self, router_options options)
      : self_(self), options_(std::move(options)), directory_(options_.resume_ms_max) {}

  caf::behavior make_behavior() {
    wake_promptly(options_.where);
    return {
        [this](const route_request& request) { route(request.ticket); },
        [this](const cancel_by_client& order) { cancel(order); },
        [this](const resume_by_client& order) { resume(order); },
        [this](const forget_client& gone) { forget(gone); },
        [this](const step_updates& news) { take_step(news); },
        [this](const enqueue_refused& refusal) { abort(refusal.id, refusal.reason); },
        [this](const deadline_passed& missed) {
          if (missed.incarnation == incarnation_)
            abort(missed.id, {errc::deadline_exceeded,
                              "the request's deadline passed before it was finished"});
        },
        [this](const stop_scheduled_sequence& order) {
          if (scheduler_) send_to(scheduler_, order, true);
        },
        [this](const request_ended& ended) {
          read_on(ended);
          directory_.remove(ended.id, ended.said, options_.now());
          arm_expiry();
          report_if_idle();
        },
        [this](const replica_ready& replica) { adopt(replica); },
        [this](const progress_report& report) {
          auto* request = directory_.find(report.id);
          if (request == nullptr || report.incarnation != incarnation_) return;
          send_in_lane(self_, request->ticket->service, scheduler_,
                       enqueue_request{request->ticket, report.progress});
        },
        [this](const begin_drain&) {
          drain_watcher_ = caf::actor_cast<caf::actor>(self_->current_sender());
          report_if_idle();
        },
        [this](const abort_all& order) {
          closed_ = order.reason;
          std::vector<request_id> all;
          for (const auto& [id, request] : directory_.live()) all.push_back(id);
          for (const request_id id : all) abort(id, order.reason);
        },
        [this](expire_atom) {
          expiry_armed_ = false;
          directory_.expire(options_.now());
          arm_expiry();
        },
    };
  }

  /// Request actors end with their home.
  void on_exit() {
    for (const auto& [id, request] : directory_.live()) {
      if (request.running) caf::anon_send_exit(request.running, caf::exit_reason::user_shutdown);
    }
  }

 private:
  void route(const ticket_ptr& ticket) {
    learn_gateway();
    if (!directory_.add(ticket)) {
      return_credit(ticket->service);
      refuse(*ticket,
             {errc::already_exists,
              fmt::format("request id '{}' is in use; ids are free again some seconds after the "
                          "terminal reply, choose another one",
                          ticket->client_request_id)});
      return;
    }
    if (closed_) return abort(ticket->id, *closed_);
    tell_client(*ticket, ticket->client, message_kind::accepted, accepted{ticket->prompt->size()});
    if (!scheduler_) return;  // between two replicas: adopt() hands it over
    send_to(scheduler_, enqueue_request{ticket, {}}, ticket->service == lane::vip);
  }

  void cancel(const cancel_by_client& order) {
    learn_gateway();
    if (const auto* request = directory_.find(order.tenant, order.client_request_id))
      return abort(request->ticket->id, {errc::aborted, "cancelled by the client"});
    if (directory_.remembered(order.tenant, order.client_request_id))
      return;  // its terminal reply was on its way
    // The gateway's messages come in its order: nothing of this name is on its way.
    reply_not_found(
        order.client, order.client_request_id,
        fmt::format("no request '{}' to cancel: it never arrived, or ended some time ago",
                    order.client_request_id));
  }

  void forget(const forget_client& gone) {
    for (const request_id id : directory_.requests_of(gone.client)) abort(id, gone.reason);
  }

  void resume(const resume_by_client& order) {
    learn_gateway();
    if (auto* request = directory_.find(order.tenant, order.client_request_id)) {
      request->client = order.client;
      if (request->running)
        rebind(*request, order.offsets);
      else
        tell_client(*request->ticket, order.client, message_kind::accepted,
                    accepted{request->ticket->prompt->size()});
      return;
    }
    if (const auto said = directory_.remembered(order.tenant, order.client_request_id)) {
      return self_->send(gateway_,
                         client_events{replay_events(*said, order.offsets, order.client)});
    }
    reply_not_found(
        order.client, order.client_request_id,
        fmt::format(
            "no request '{}' to resume: it never arrived, or its terminal reply is older than "
            "resume_ms_max",
            order.client_request_id));
  }

  /// Replies go to whoever asks; there is one gateway.
  void learn_gateway() { gateway_ = caf::actor_cast<caf::actor>(self_->current_sender()); }

  void reply_not_found(const client_ref& reader, const std::string& client_request_id,
                       std::string message) {
    envelope_header head;
    head.kind = message_kind::error;
    head.request_id = client_request_id;
    std::vector<outbound> reply;
    reply.push_back(
        {reader, head, error_reply{std::string(to_string(errc::not_found)), std::move(message)}});
    self_->send(gateway_, client_events{std::move(reply)});
  }

  /// A resume that reached the request after its end was lost: its new reader gets the rest here.
  void read_on(const request_ended& ended) {
    const auto* request = directory_.find(ended.id);
    if (request == nullptr || ended.said == nullptr || ended.said->events.empty()) return;
    if (ended.resume_count == request->resume_count) return;
    self_->send(gateway_,
                client_events{replay_events(*ended.said, request->last_resume, request->client)});
  }

  void take_step(const step_updates& news) {
    if (news.incarnation != incarnation_) return;
    return_credits credits;
    std::map<request_id, request_tokens> by_request;
    for (const request_started& started : news.started) {
      auto* request = directory_.find(started.id);
      if (request == nullptr) continue;
      if (!request->running) {
        run(*request);
        ++credits.counts[to_index(request->ticket->service)];
      }
      by_request[started.id].started = started;
    }
    for (const sequence_update& update : news.updates)
      by_request[update.sequence.request].updates.push_back(update);
    for (auto& [id, tokens] : by_request) {
      auto* request = directory_.find(id);
      if (request != nullptr && request->running) self_->send(request->running, std::move(tokens));
    }
    if (credits.counts != decltype(credits.counts){}) self_->send(gateway_, credits);
  }

  void run(request_directory::live_request& request) {
    request.running = spawn_request(
        self_->system(), {request.ticket, caf::actor_cast<caf::actor>(self_), gateway_,
                          options_.tokens, options_.measured, options_.tenants, options_.now});
    if (request.client != request.ticket->client) rebind(request, {});
  }

  void rebind(request_directory::live_request& request, const troupe::resume& seen) {
    ++request.resume_count;
    request.last_resume = seen;
    self_->send(request.running, resume_stream{request.client, seen});
  }

  /// Ends a request in any state with an error reply.
  void abort(request_id id, const error& reason) {
    auto* request = directory_.find(id);
    if (request == nullptr) return;
    if (scheduler_) send_to(scheduler_, cancel_scheduled{id}, true);
    if (request->running) {
      self_->send(request->running, abort_request{reason});
      return;  // its request_ended removes it
    }
    const ticket_ptr ticket = request->ticket;
    std::vector<outbound> reply;
    reply.push_back(event_of(*ticket, request->client, message_kind::error,
                             error_reply{std::string(to_string(reason.code)), reason.message}));
    return_credit(ticket->service);
    // A refusal leaves nothing, so that the client may try again with the same id; an end is
    // remembered.
    const bool is_end = reason.code == errc::aborted || reason.code == errc::deadline_exceeded;
    if (is_end)
      close_unstarted(*ticket, reason.code);
    else
      count_refusal(*ticket, reason.code);
    const bool keep = is_end && ticket->resumable;
    directory_.remove(id, keep ? std::make_shared<const transcript>(transcript{reply}) : nullptr,
                      options_.now());
    arm_expiry();
    send_in_lane(self_, ticket->service, gateway_, client_events{std::move(reply)});
    report_if_idle();
  }

  void adopt(const replica_ready& replica) {
    incarnation_ = replica.incarnation;
    scheduler_ = replica.scheduler;
    for (auto& [id, request] : directory_.live()) {
      if (request.running)
        self_->send(request.running, report_progress{incarnation_});
      else
        send_in_lane(self_, request.ticket->service, scheduler_,
                     enqueue_request{request.ticket, {}});
    }
  }

  void close_unstarted(const request_ticket& ticket, errc reason) {
    request_facts facts = facts_of(ticket, options_.now());
    facts.failure = reason;
    close_request(*options_.measured, *options_.tenants, ticket, facts, 0);
  }

  void count_refusal(const request_ticket& ticket, errc reason) {
    options_.measured->observe_refused(ticket.service, to_string(reason));
    options_.tenants->settle(ticket.account, ticket.admitted, 0, options_.now());
  }

  void refuse(const request_ticket& ticket, const error& reason) {
    count_refusal(ticket, reason.code);
    tell_client(ticket, ticket.client, message_kind::error,
                error_reply{std::string(to_string(reason.code)), reason.message});
  }

  static outbound event_of(const request_ticket& ticket, const client_ref& reader,
                           message_kind kind, message_body body) {
    envelope_header head;
    head.kind = kind;
    head.request_id = ticket.client_request_id;
    head.service = ticket.service;
    return {reader, std::move(head), std::move(body)};
  }

  void tell_client(const request_ticket& ticket, const client_ref& reader, message_kind kind,
                   message_body body) {
    std::vector<outbound> reply;
    reply.push_back(event_of(ticket, reader, kind, std::move(body)));
    send_in_lane(self_, ticket.service, gateway_, client_events{std::move(reply)});
  }

  void return_credit(lane service) {
    return_credits credits;
    credits.counts[to_index(service)] = 1;
    self_->send(gateway_, credits);
  }

  void report_if_idle() {
    if (drain_watcher_ && directory_.live().empty()) self_->send(drain_watcher_, router_idle{});
  }

  void arm_expiry() {
    if (expiry_armed_ || !directory_.has_memories()) return;
    expiry_armed_ = true;
    self_->delayed_send(self_, options_.resume_ms_max, expire_atom::value);
  }

  caf::event_based_actor* self_;
  router_options options_;
  request_directory directory_;
  caf::actor gateway_;
  caf::actor scheduler_;
  caf::actor drain_watcher_;
  std::uint64_t incarnation_ = 0;
  std::optional<error> closed_;  ///< why nothing more is taken
  bool expiry_armed_ = false;
};

}  // namespace

caf::actor spawn_router(caf::actor_system& system, const router_options& options) {
  return spawn_actor<router_state>(system, options.where, options);
}

}  // namespace troupe
