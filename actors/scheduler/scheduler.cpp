#include "actors/scheduler/scheduler.hpp"

#include <algorithm>
#include <deque>
#include <set>
#include <utility>

#include "actors/base/messages.hpp"
#include "config/limits.hpp"
#include "kernels/base/hash.hpp"
#include "runtime/schedule/block_fetches.hpp"
#include "runtime/schedule/deadline_timers.hpp"

namespace troupe {

namespace {

using deadline_tick_atom = caf::atom_constant<caf::atom("deadline")>;
using fetch_tick_atom = caf::atom_constant<caf::atom("fetch")>;

//   idle --work arrives--> step in flight --step_done--> plan again, or idle
// With a tier below the device a request first asks it for blocks:
//   arrived --find_blocks--> fetching --blocks_found or deadline--> queued
class scheduler_state {
 public:
  static constexpr const char* name = "scheduler";

  scheduler_state(caf::event_based_actor* self, scheduler_options options)
      : self_(self),
        options_(std::move(options)),
        core_(options_.limits),
        pace_(options_.pace),
        fetches_(std::chrono::milliseconds{limits::kv_fetch_ms_max}) {}

  caf::behavior make_behavior() {
    wake_promptly(options_.where);
    // What a dead predecessor left behind: its step will not end, its requests wait for their
    // progress.
    options_.watch->take_over(options_.incarnation);
    options_.measured->set_counts(core_.counts());
    return {
        [this](const enqueue_request& request) { enqueue(request); },
        [this](const cancel_scheduled& request) { cancel(request.id); },
        [this](const stop_scheduled_sequence& request) { stop_sequence(request.sequence); },
        [this](const step_done& done) { finish_step(done.result); },
        [this](const blocks_found& answer) { take_offers(answer); },
        [this](blocks_stored) { --stores_open_; },
        [this](const batches_composed& answer) { follow(*answer.plan); },
        [this](deadline_tick_atom) { expire_deadlines(); },
        [this](fetch_tick_atom) { expire_fetches(); },
    };
  }

 private:
  /// A cancel is urgent and may overtake its request: then a tombstone stays for it.
  void cancel(request_id id) {
    if (!end(id) && tombstones_.insert(id).second) {
      tombstone_order_.push_back(id);
      if (tombstone_order_.size() > limits::cancel_tombstones_max) {
        tombstones_.erase(tombstone_order_.front());
        tombstone_order_.pop_front();
      }
    }
    keep_busy();
  }

  /// False if nobody knows the request.
  bool end(request_id id) {
    deadlines_.clear(id);
    return fetches_.cancel(id) || core_.cancel(id);
  }

  void stop_sequence(sequence_id id) {
    if (!fetches_.stop_sequence(id) && core_.stop_sequence(id)) forget_ended(id.request);
    keep_busy();
  }

  void forget_ended(request_id id) {
    if (!core_.has(id)) deadlines_.clear(id);
  }

  void enqueue(const enqueue_request& request) {
    const request_ticket& ticket = *request.ticket;
    if (tombstones_.contains(ticket.id)) return;
    const auto on_its_way = options_.now() - ticket.arrival;
    options_.measured->observe_intake(ticket.service,
                                      std::chrono::duration<double>(on_its_way).count());
    schedule_request scheduled;
    scheduled.id = ticket.id;
    scheduled.service = ticket.service;
    scheduled.priority = ticket.priority;
    scheduled.tenant_salt = hash_text(ticket.tenant);
    scheduled.tenant_index = static_cast<std::uint32_t>(ticket.account);
    scheduled.tenant_share = ticket.share;
    scheduled.prompt = ticket.prompt;
    scheduled.params = ticket.params;
    scheduled.arrival = ticket.arrival;
    scheduled.deadline = ticket.deadline;
    scheduled.due = ticket.due;
    scheduled.resumed = request.resumed;
    if (!fetch_blocks(scheduled) && !queue(std::move(scheduled))) return;
    if (ticket.deadline) {
      deadlines_.set(ticket.id, *ticket.deadline);
      arm_deadline_tick();
    }
    keep_busy();
  }

  bool queue(schedule_request scheduled) {
    const request_id id = scheduled.id;
    if (scheduled.service == lane::async) pace_.arrived();
    auto queued = core_.enqueue(std::move(scheduled), options_.now());
    if (!queued) self_->send(options_.router, enqueue_refused{id, std::move(queued).failure()});
    return queued.has_value();
  }

  /// Asks the lower tier for the blocks of the first sequence that has not ended. False when there
  /// is nothing to wait for.
  bool fetch_blocks(const schedule_request& scheduled) {
    const auto& resumed = scheduled.resumed;
    const auto first = std::ranges::find(resumed, false, &schedule_request::progress::finished);
    token_view tokens{*scheduled.prompt, {}};
    if (first != resumed.end()) tokens.output = first->output;
    const std::uint32_t block_count =
        tokens.size() == 0 ? 0 : (tokens.size() - 1) / options_.limits.block_tokens;
    if (!options_.kv_pool || block_count == 0 || finds_open_ >= limits::kv_finds_max) return false;
    if (core_.cached_prefix_blocks(scheduled.tenant_salt, tokens) == block_count) return false;
    find_blocks question{
        {scheduled.id, static_cast<std::uint32_t>(first - resumed.begin())},
        share(block_keys_of(options_.limits.model_fingerprint, scheduled.tenant_salt, tokens,
                            options_.limits.block_tokens))};
    if (scheduled.service == lane::vip)
      self_->send<caf::message_priority::high>(options_.kv_pool, std::move(question));
    else
      self_->send(options_.kv_pool, std::move(question));
    ++finds_open_;
    fetches_.begin(scheduled, options_.now());
    arm_fetch_tick();
    return true;
  }

  static std::shared_ptr<const std::vector<block_key_ptr>> share(std::vector<block_key_ptr> keys) {
    return std::make_shared<const std::vector<block_key_ptr>>(std::move(keys));
  }

  /// What preempted sequences lack. The answer must find what was offloaded before: not urgent,
  /// behind the stores.
  void fetch_wanted() {
    for (const sequence_id sequence : std::exchange(wanted_, {})) {
      auto keys = core_.block_keys_of(sequence);
      if (keys.empty() || finds_open_ >= limits::kv_finds_max) {
        core_.offer_blocks(sequence, {});
        continue;
      }
      ++finds_open_;
      self_->send(options_.kv_pool, find_blocks{sequence, share(std::move(keys))});
    }
  }

  /// An answer after the deadline still helps a request that waits for its turn.
  void take_offers(const blocks_found& answer) {
    --finds_open_;
    if (auto request = fetches_.finish(answer.sequence.request)) queue(std::move(*request));
    core_.offer_blocks(answer.sequence, answer.blocks);
    keep_busy();
  }

  void finish_step(const std::shared_ptr<const step_result>& done) {
    const step_result& result = *done;
    const monotonic_time now = options_.now();
    options_.watch->end(options_.incarnation);
    step_compute_ms_ += result.total_ms();
    step_outcome outcome = core_.complete(result, now);
    for (const sequence_update& update : outcome.updates) {
      if (update.finished) forget_ended(update.sequence.request);
    }
    // The next step starts before anybody is told about this one: the worker must not wait.
    auto started = start_step(now);
    if (!outcome.updates.empty() || !started.empty())
      tell_router({options_.incarnation, std::move(started), std::move(outcome.updates)});
    offload(done);
    fetch_wanted();
    compose(now);
    options_.measured->set_counts(core_.counts());
    options_.measured->set_cost_model(core_.cost().profile(), core_.cost().error());
  }

  /// Beside the step that runs now.
  void compose(monotonic_time now) {
    if (!options_.composer || !pace_.is_due(now)) return;
    auto view = core_.async_view(now);
    if (!view) return;
    pace_.begin(now, view->waiting.size());
    self_->send(options_.composer,
                compose_batches_for{std::make_shared<const async_batch_view>(std::move(*view))});
  }

  void follow(const async_plan& plan) {
    pace_.end(plan.search_gain_ms());
    core_.apply(plan, options_.now());
    options_.measured->observe_composition(plan.improvement_ratio());
    keep_busy();
  }

  /// Without credit the blocks are forgotten: what they hold can be recomputed.
  void offload(const std::shared_ptr<const step_result>& done) {
    if (done->offloaded.empty() || !options_.kv_pool || stores_open_ >= limits::kv_stores_max)
      return;
    ++stores_open_;
    self_->send(options_.kv_pool, store_blocks{{done, &done->offloaded}});
  }

  /// Starts a step if none is in flight and there is work for one.
  void keep_busy() {
    if (core_.has_step_in_flight()) return;
    auto started = start_step(options_.now());
    if (!started.empty()) tell_router({options_.incarnation, std::move(started), {}});
    fetch_wanted();
    options_.measured->set_counts(core_.counts());
  }

  /// Urgent: the tokens of running requests must not wait behind a flood of new ones.
  void tell_router(step_updates news) {
    self_->send<caf::message_priority::high>(options_.router, std::move(news));
  }

  std::vector<request_started> start_step(monotonic_time now) {
    if (!core_.has_work()) {
      if (core_.has_step_in_flight() == false) core_.check_integrity();
      step_began_ = monotonic_time{};
      return {};
    }
    auto planned = core_.plan(now);
    wanted_ = std::move(planned.wanted);
    if (planned.plan.slices.empty()) return std::move(planned.started);
    if (planned.whole.tokens() != 0) measure_from(planned, now);
    options_.watch->begin(options_.incarnation, now);
    self_->send(options_.worker,
                execute_step{std::make_shared<const step_plan>(std::move(planned.plan))});
    return std::move(planned.started);
  }

  /// A step begins: the one before took until now.
  void measure_from(const scheduler_core::planned& planned, monotonic_time now) {
    if (step_began_ != monotonic_time{}) {
      const double period_ms = std::chrono::duration<double, std::milli>(now - step_began_).count();
      options_.measured->observe_step(step_shape_, step_compute_ms_, period_ms - step_compute_ms_);
    }
    if (planned.fill) options_.measured->observe_fill(*planned.fill);
    step_began_ = now;
    step_shape_ = planned.whole;
    step_compute_ms_ = 0.0;
  }

  void arm_deadline_tick() {
    const auto next = deadlines_.next();
    if (!next || (tick_armed_ && tick_at_ <= *next)) return;
    // A tick that is not needed any more stays pending: short waits keep those few.
    const monotonic_time now = options_.now();
    const monotonic_time wait_max = std::chrono::milliseconds{limits::deadline_tick_ms_max};
    const auto wait = std::clamp(*next - now, monotonic_time{0}, wait_max);
    tick_at_ = now + wait;
    tick_armed_ = true;
    self_->delayed_send(self_, wait, deadline_tick_atom::value);
  }

  void expire_deadlines() {
    tick_armed_ = false;
    const monotonic_time now = options_.now();
    for (const request_id id : deadlines_.expire(now)) {
      if (end(id)) self_->send(options_.router, deadline_passed{options_.incarnation, id});
    }
    arm_deadline_tick();
    keep_busy();
  }

  /// All fetches wait equally long, so that the tick of the oldest serves those behind it.
  void arm_fetch_tick() {
    const auto next = fetches_.next_deadline();
    if (!next || std::exchange(fetch_tick_armed_, true)) return;
    self_->delayed_send(self_, std::max(*next - options_.now(), monotonic_time{0}),
                        fetch_tick_atom::value);
  }

  void expire_fetches() {
    fetch_tick_armed_ = false;
    for (schedule_request& late : fetches_.expire(options_.now())) queue(std::move(late));
    arm_fetch_tick();
    keep_busy();
  }

  caf::event_based_actor* self_;
  scheduler_options options_;
  scheduler_core core_;
  compose_pace pace_;
  block_fetches fetches_;
  std::size_t finds_open_ = 0, stores_open_ = 0;  ///< sent to the kv_pool and not answered
  std::vector<sequence_id> wanted_;               ///< by the last plan, not asked for yet
  deadline_timers deadlines_;
  std::set<request_id> tombstones_;
  std::deque<request_id> tombstone_order_;
  monotonic_time tick_at_{};
  bool tick_armed_ = false;
  bool fetch_tick_armed_ = false;
  monotonic_time step_began_{};
  step_shape step_shape_;
  double step_compute_ms_ = 0.0;
};

}  // namespace

caf::actor spawn_scheduler(caf::actor_system& system, const scheduler_options& options) {
  return spawn_actor<scheduler_state>(system, options.where, options);
}

}  // namespace troupe
