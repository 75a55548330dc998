#include "actors/request/request.hpp"

#include "actors/request/closing.hpp"
#include "runtime/intake/request_stream.hpp"

namespace troupe {

namespace {

double seconds_between(monotonic_time from, monotonic_time to) {
  return std::chrono::duration<double>(to - from).count();
}

//   running --last sequence ends--> finished
//      \----abort_request---------> aborted
// Either way the actor sends one terminal reply, tells the router, and quits.
class request_state {
 public:
  static constexpr const char* name = "request";

  request_state(caf::event_based_actor* self, request_options options)
      : self_(self),
        options_(std::move(options)),
        client_(options_.ticket->client),
        stream_(options_.tokens, options_.ticket->params, options_.ticket->prompt) {
    last_token_.resize(options_.ticket->params->n);
  }

  caf::behavior make_behavior() {
    return {
        [this](const request_tokens& news) { take_tokens(news); },
        [this](const abort_request& order) { end(order.reason); },
        [this](const resume_stream& order) { resume(order); },
        [this](const report_progress& question) {
          stream_.restart_prompt();
          self_->send(options_.router, progress_report{question.incarnation, options_.ticket->id,
                                                       stream_.progress()});
        },
    };
  }

 private:
  void take_tokens(const request_tokens& news) {
    const monotonic_time now = options_.now();
    if (news.started && !started_) {
      started_ = news.started;
      options_.measured->observe_queue_time(lane_of(), seconds(started_->queued));
    }
    std::vector<outbound> ready;
    std::uint64_t token_count = 0;
    for (const sequence_update& update : news.updates) {
      auto taken = stream_.take(update);
      if (taken.stop_sequence)
        self_->send(options_.router, stop_scheduled_sequence{update.sequence});
      if (update.token) token_count += note_token_time(update.sequence.index, now);
      if (taken.out) ready.push_back(wrap(std::move(*taken.out)));
    }
    if (token_count != 0) options_.measured->add_generation_tokens(lane_of(), token_count);
    if (stream_.is_complete()) {
      const finished summary = closing_summary(now);
      request_facts facts = facts_now(now);
      facts.finish_reason = summary.finish_reasons.front();
      close(facts);
      ready.push_back({client_, header(message_kind::finished), summary});
    }
    publish(std::move(ready));
    if (stream_.is_complete()) leave();
  }

  std::uint64_t note_token_time(std::uint32_t sequence, monotonic_time now) {
    if (!first_token_) {
      first_token_ = now;
      options_.measured->observe_first_token(lane_of(),
                                             seconds_between(options_.ticket->arrival, now));
    }
    monotonic_time& last = last_token_.at(sequence);
    if (last != monotonic_time{})
      options_.measured->observe_inter_token(lane_of(), seconds_between(last, now));
    last = now;
    return 1;
  }

  finished closing_summary(monotonic_time now) const {
    finished summary = stream_.summary();
    const monotonic_time arrival = options_.ticket->arrival;
    summary.cached_tokens = started_ ? started_->cached_tokens : 0;
    summary.queue_ms = started_ ? seconds(started_->queued) * 1e3 : 0.0;
    summary.ttft_ms = seconds_between(arrival, first_token_.value_or(now)) * 1e3;
    summary.e2e_ms = seconds_between(arrival, now) * 1e3;
    return summary;
  }

  void end(const error& reason) {
    request_facts facts = facts_now(options_.now());
    facts.failure = reason.code;
    close(facts);
    std::vector<outbound> ready;
    ready.push_back({client_, header(message_kind::error),
                     error_reply{std::string(to_string(reason.code)), reason.message}});
    publish(std::move(ready));
    leave();
  }

  request_facts facts_now(monotonic_time now) const {
    request_facts facts = facts_of(*options_.ticket, now);
    facts.output_tokens = stream_.output_token_count();
    facts.longest_output = stream_.longest_output();
    facts.first_token = first_token_;
    return facts;
  }

  void close(const request_facts& facts) {
    close_request(*options_.measured, *options_.tenants, *options_.ticket, facts,
                  facts.prompt_tokens + facts.output_tokens);
  }

  void resume(const resume_stream& order) {
    client_ = order.client;
    ++resume_count_;
    std::vector<outbound> again = replay_events(said_, order.offsets, client_);
    if (!again.empty())
      send_in_lane(self_, lane_of(), options_.gateway, client_events{std::move(again)});
  }

  outbound wrap(positioned_delta positioned) const {
    envelope_header head = header(message_kind::delta);
    head.sequence = positioned.sequence;
    head.offset = positioned.offset;
    return {client_, std::move(head), std::move(positioned.part)};
  }

  envelope_header header(message_kind kind) const {
    envelope_header head;
    head.kind = kind;
    head.request_id = options_.ticket->client_request_id;
    head.service = lane_of();
    return head;
  }

  void publish(std::vector<outbound> ready) {
    if (ready.empty()) return;
    if (options_.ticket->resumable) said_.add(ready);
    send_in_lane(self_, lane_of(), options_.gateway, client_events{std::move(ready)});
  }

  void leave() {
    auto said =
        options_.ticket->resumable ? std::make_shared<const transcript>(std::move(said_)) : nullptr;
    self_->send(options_.router,
                request_ended{options_.ticket->id, std::move(said), resume_count_});
    self_->quit();
  }

  [[nodiscard]] lane lane_of() const { return options_.ticket->service; }
  static double seconds(monotonic_time span) { return std::chrono::duration<double>(span).count(); }

  caf::event_based_actor* self_;
  request_options options_;
  client_ref client_;
  request_stream stream_;
  transcript said_;
  std::uint32_t resume_count_ = 0;
  std::optional<request_started> started_;
  std::optional<monotonic_time> first_token_;
  std::vector<monotonic_time> last_token_;
};

}  // namespace

caf::actor spawn_request(caf::actor_system& system, const request_options& options) {
  return spawn_actor<request_state>(system, placement::pooled, options);
}

}  // namespace troupe
