#include "runtime/simulate/virtual_engine.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "config/limits.hpp"
#include "runtime/memory/block_table.hpp"
#include "runtime/schedule/deadline_timers.hpp"
#include "runtime/simulate/made_prompts.hpp"
#include "runtime/simulate/random_draws.hpp"
#include "runtime/simulate/submissions.hpp"
#include "runtime/simulate/waiting_watch.hpp"

namespace troupe::simulate {

struct virtual_engine::buffers {
  made_prompts prompts;
  step_result result;
};

class virtual_engine::loop {
 public:
  loop(const virtual_engine_options& options, buffers& kept,
       std::span<const virtual_request> requests)
      : options_(options),
        kept_(kept),
        requests_(requests),
        arrivals_(requests, options.clients),
        core_(limits_of(options)),
        composer_(options.composer),
        watch_(requests, options.limits.block_tokens, made_),
        luck_(options.seed + options.cost.noise_seed, draw_stream::steps),
        answered_(requests.size(), 0) {
    made_.outcomes.resize(requests.size());
    made_.counts.seats = options.limits.max_num_seqs;
  }

  virtual_result run() {
    pass_time(now_);
    if (options_.plan) core_.apply(*options_.plan, now_);
    while (!made_.is_unfinished) {
      pass_time(now_);
      if (core_.has_work()) {
        step();
      } else if (const auto next = next_arrival()) {
        now_ = std::max(now_, *next);
      } else {
        break;
      }
      made_.is_unfinished = now_ > virtual_time_max;
    }
    take_counts();
    return std::move(made_);
  }

 private:
  static scheduler_limits limits_of(const virtual_engine_options& options) {
    scheduler_limits limits = options.limits;
    limits.end_of_generation = {made_prompts::end_of_answer};
    return limits;
  }

  static std::size_t place_of(request_id id) { return static_cast<std::size_t>(id); }

  [[nodiscard]] lane lane_of(std::size_t place) const {
    return options_.one_lane.value_or(requests_[place].service);
  }

  /// At the scheduler.
  [[nodiscard]] std::optional<monotonic_time> next_arrival() const {
    const auto sent = arrivals_.next_time();
    return sent ? std::optional(*sent + options_.path.intake) : std::nullopt;
  }

  /// What happens beside the steps, in its order: requests arrive, deadlines pass.
  void pass_time(monotonic_time until) {
    for (;;) {
      const auto arrival = next_arrival(), deadline = deadlines_.next();
      if (deadline && *deadline <= until && (!arrival || *deadline <= *arrival))
        expire(*deadline);
      else if (arrival && *arrival <= until)
        submit(arrivals_.take(), *arrival);
      else
        return;
    }
  }

  void submit(std::size_t place, monotonic_time when) {
    const virtual_request& given = requests_[place];
    made_.outcomes[place].submitted = when - options_.path.intake;
    schedule_request request;
    request.id = static_cast<request_id>(place);
    request.service = lane_of(place);
    request.priority = given.priority;
    request.prompt = kept_.prompts.prompt_of(given, place);
    request.params = kept_.prompts.params_of(given.output_tokens, options_.asked_tokens);
    request.arrival = when;
    if (given.allowed != monotonic_time{}) request.deadline = when + given.allowed;
    const auto deadline = request.deadline;
    if (is_queue_full(request.service)) return finish(place, virtual_end::refused, when);
    if (request.service == lane::async) composer_.arrived();
    if (const auto taken = core_.enqueue(std::move(request), when); !taken) {
      const bool is_late = taken.failure().code == errc::deadline_unmeetable;
      return finish(place, is_late ? virtual_end::unmeetable : virtual_end::refused, when);
    }
    watch_.enqueued(place, lane_of(place));
    if (deadline) deadlines_.set(static_cast<request_id>(place), *deadline);
  }

  [[nodiscard]] bool is_queue_full(lane service) const {
    const std::uint32_t most = options_.queued_max[to_index(service)];
    return most != 0 && core_.counts().waiting[to_index(service)] >= most;
  }

  void step() {
    const auto planned = core_.plan(now_);
    TROUPE_CHECK(!planned.plan.slices.empty());  // whatever enqueue() took can run alone
    for (const request_started& each : planned.started)
      watch_.started(place_of(each.id), lane_of(place_of(each.id)), now_);
    composer_.step_begins(core_, now_);
    make_result(planned.plan);
    if (planned.whole.tokens() != 0) {  // nobody joins a step in the middle of it
      account(planned);
      if (watch_.is_anyone_waiting()) watch_.planned(room_of(planned));
    }
    const step_time time = options_.cost.time(planned.shape, next_luck());
    weigh(time);
    const monotonic_time duration = from_ms(time.total_ms);
    step_lasted_ += duration;
    if (planned.behind.empty()) watch_.step_ended(std::exchange(step_lasted_, {}));
    now_ += duration;
    pass_time(now_);
    composer_.step_ends(core_, now_);
    kept_.result.compute_ms = time.step_ms;
    const step_outcome outcome = core_.complete(kept_.result, now_);
    for (const sequence_update& update : outcome.updates) take_update(update);
    if (options_.observe) show();
  }

  /// Lognormal of mean 1.
  double next_luck() {
    const double sigma = options_.cost.noise;
    return sigma == 0.0 ? 1.0 : std::exp(sigma * luck_.normal() - 0.5 * sigma * sigma);
  }

  void expire(monotonic_time deadline) {
    for (const request_id id : deadlines_.expire(deadline)) {
      core_.cancel(id);
      finish(place_of(id), virtual_end::missed, deadline);
    }
  }

  [[nodiscard]] step_room room_of(const scheduler_core::planned& planned) const {
    const scheduler_limits& limits = options_.limits;
    const scheduler_counts counts = core_.counts();
    const auto left = [](std::uint64_t all, std::uint64_t used) {
      return static_cast<std::uint32_t>(all - std::min(all, used));
    };
    step_room room{
        .seats = left(limits.max_num_seqs, counts.running_sequences),
        .starts = left(limits.max_batch_size, planned.started.size()),
        .first_chunk_tokens = left(limits.max_num_batched_tokens, planned.whole.tokens())};
    if (planned.step_ms_max)
      room.first_chunk_tokens =
          std::min(room.first_chunk_tokens,
                   core_.cost().prefill_tokens_within(*planned.step_ms_max, planned.whole, 0));
    // As the scheduler keeps them back: what prompts that have begun will take, and for growth.
    const std::uint64_t kept_back =
        committed_blocks_ + std::max(counts.running_sequences,
                                     counts.blocks_total / troupe::limits::growth_reserve_divisor);
    room.blocks = left(counts.blocks_free + counts.blocks_cached, kept_back);
    return room;
  }

  void make_result(const step_plan& plan) {
    kept_.result.id = plan.id;
    kept_.result.slices.resize(plan.slices.size());
    for (std::size_t i = 0; i < plan.slices.size(); ++i) {
      const step_slice& slice = plan.slices[i];
      const auto place = place_of(slice.sequence.request);
      kept_.result.slices[i].sampled.assign(slice.sample ? 1u : 0u, next_token(place));
    }
  }

  /// Reads what the step that the plan begins holds.
  void account(const scheduler_core::planned& planned) {
    ++made_.counts.steps;
    made_.counts.rows += planned.whole.tokens();
    step_held_ = step_written_ = committed_blocks_ = 0;
    step_slices_ = planned.plan.slices.size() + planned.behind.size();
    const auto read = [&](const step_slice& slice) {
      if (!slice.sample) committed_blocks_ += blocks_left(place_of(slice.sequence.request), slice);
      step_held_ += slice.block_table.size();
      step_written_ += slice.position_first + slice.tokens.size();
    };
    std::ranges::for_each(planned.plan.slices, read);
    std::ranges::for_each(planned.behind, read);
  }

  [[nodiscard]] sampled_token next_token(std::size_t place) const {
    sampled_token made;
    made.token = answered_[place] + 1 == requests_[place].output_tokens
                     ? made_prompts::end_of_answer
                     : made_prompts::plain_token;
    return made;
  }

  /// Of a prompt that goes on in the next step.
  [[nodiscard]] std::uint64_t blocks_left(std::size_t place, const step_slice& slice) const {
    const std::uint32_t all =
        blocks_for(requests_[place].prompt_tokens, options_.limits.block_tokens);
    return all - std::min<std::uint64_t>(all, slice.block_table.size());
  }

  void weigh(const step_time& time) {
    virtual_counts& counts = made_.counts;
    counts.busy_ms += time.total_ms;
    counts.overhead_ms += time.overhead_ms;
    counts.seat_ms += static_cast<double>(step_slices_) * time.total_ms;
    counts.kv_reserved +=
        static_cast<double>(step_held_ * options_.limits.block_tokens) * time.total_ms;
    counts.kv_written += static_cast<double>(step_written_) * time.total_ms;
  }

  void take_update(const sequence_update& update) {
    const auto place = place_of(update.sequence.request);
    virtual_outcome& outcome = made_.outcomes[place];
    if (update.token) ++answered_[place];
    if (update.token && outcome.first_token == monotonic_time{})
      outcome.first_token = now_ + options_.path.reply;
    if (update.finished) finish(place, virtual_end::completed, now_ + options_.path.reply);
  }

  void finish(std::size_t place, virtual_end how, monotonic_time when) {
    virtual_outcome& outcome = made_.outcomes[place];
    TROUPE_CHECK(outcome.end == virtual_end::none);
    outcome.end = how;
    outcome.finished = std::max(when, outcome.submitted);
    made_.end = std::max(made_.end, outcome.finished);
    deadlines_.clear(static_cast<request_id>(place));
    watch_.ended(place, lane_of(place));
    if (how == virtual_end::completed)
      wanted_rows_ += requests_[place].prompt_tokens + requests_[place].output_tokens - 1u;
    arrivals_.ended(outcome.finished);
  }

  void show() const {
    const scheduler_counts counts = core_.counts();
    virtual_moment moment;
    moment.now = now_;
    for (const std::uint32_t each : counts.waiting) moment.waiting += each;
    moment.running = counts.running_sequences;
    moment.kv_share = static_cast<double>(counts.blocks_referenced) / counts.blocks_total;
    options_.observe(moment);
  }

  void take_counts() {
    const scheduler_counts counts = core_.counts();
    virtual_counts& sums = made_.counts;
    sums.preemptions = counts.preemptions;
    sums.prefix_query_tokens = counts.prefix_query_tokens;
    sums.prefix_hit_tokens = counts.prefix_hit_tokens;
    sums.recomputed_rows = counts.recomputed_tokens;
    // What completed requests consist of, less what the cache gave.
    const std::uint64_t wanted = wanted_rows_ - std::min(wanted_rows_, sums.prefix_hit_tokens);
    if (sums.rows != 0)
      sums.useful_ms = (sums.busy_ms - sums.overhead_ms) *
                       std::min(1.0, static_cast<double>(wanted) / static_cast<double>(sums.rows));
  }

  const virtual_engine_options& options_;
  buffers& kept_;
  std::span<const virtual_request> requests_;
  submissions arrivals_;
  scheduler_core core_;
  virtual_composer composer_;
  deadline_timers deadlines_;
  virtual_result made_;
  waiting_watch watch_;
  random_draws luck_;
  std::vector<std::uint32_t> answered_;  ///< tokens of each request so far
  monotonic_time now_{};
  std::uint64_t wanted_rows_ = 0;
  // Of the step that runs.
  std::uint64_t step_held_ = 0, step_written_ = 0;  ///< step_held_ in blocks
  std::uint64_t committed_blocks_ = 0;  ///< that prompts which have begun will still take
  std::size_t step_slices_ = 0;
  monotonic_time step_lasted_{};  ///< its parts so far
};

virtual_engine::virtual_engine(virtual_engine_options options)
    : options_(std::move(options)),
      buffers_(
          new buffers{made_prompts(options_.seed, options_.limits.enable_prefix_caching), {}}) {}
virtual_engine::~virtual_engine() = default;
virtual_engine::virtual_engine(virtual_engine&&) noexcept = default;

virtual_result virtual_engine::run(std::span<const virtual_request> requests) {
  return loop(options_, *buffers_, requests).run();
}

}  // namespace troupe::simulate
