#include "runtime/simulate/virtual_engine.hpp"

#include <cmath>
#include <utility>

#include "runtime/simulate/made_prompts.hpp"
#include "runtime/simulate/submissions.hpp"

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
        core_(options.limits) {
    made_.outcomes.resize(requests.size());
    made_.counts.seats = options.limits.max_num_seqs;
  }

  virtual_result run() {
    submit_due();
    if (options_.plan) core_.apply(*options_.plan, now_);
    for (;;) {
      submit_due();
      if (core_.has_work()) {
        step();
      } else if (const auto next = arrivals_.next_time()) {
        now_ = std::max(now_, *next);
      } else {
        break;
      }
    }
    take_counts();
    return std::move(made_);
  }

 private:
  void submit_due() {
    for (auto next = arrivals_.next_time(); next && *next <= now_; next = arrivals_.next_time())
      submit(arrivals_.take(), *next);
  }

  void submit(std::size_t place, monotonic_time when) {
    const virtual_request& given = requests_[place];
    made_.outcomes[place].submitted = when;
    schedule_request request;
    request.id = static_cast<request_id>(place);
    request.service = given.service;
    request.priority = given.priority;
    request.prompt = kept_.prompts.prompt_of(given, place);
    request.params = kept_.prompts.params_of(given.output_tokens);
    request.arrival = when;
    if (!core_.enqueue(std::move(request))) finish(place, virtual_end::refused);
  }

  void step() {
    const auto planned = core_.plan(now_);
    TROUPE_CHECK(!planned.plan.slices.empty());  // whatever enqueue() took can run alone
    const step_time time = options_.cost.time(account(planned.plan));
    weigh(time);
    now_ += std::chrono::nanoseconds(std::llround(time.total_ms * 1e6));
    kept_.result.compute_ms = time.total_ms;
    const step_outcome outcome = core_.complete(kept_.result, now_);
    for (const sequence_update& update : outcome.updates) take_update(update);
    if (options_.observe) show();
  }

  /// Reads what the plan holds, and makes its result.
  step_shape account(const step_plan& plan) {
    step_shape shape;
    step_rows_ = step_held_ = step_written_ = 0;
    step_slices_ = plan.slices.size();
    kept_.result.id = plan.id;
    kept_.result.slices.resize(plan.slices.size());
    for (std::size_t i = 0; i < plan.slices.size(); ++i) {
      const step_slice& slice = plan.slices[i];
      const auto rows = static_cast<std::uint32_t>(slice.tokens.size());
      shape.add(rows, slice.position_first, slice.sample ? 1u : 0u);
      kept_.result.slices[i].sampled.resize(slice.sample ? 1u : 0u);
      step_rows_ += rows;
      step_held_ += slice.block_table.size();
      step_written_ += slice.position_first + rows;
    }
    return shape;
  }

  void weigh(const step_time& time) {
    virtual_counts& counts = made_.counts;
    ++counts.steps;
    counts.busy_ms += time.total_ms;
    counts.overhead_ms += time.overhead_ms;
    counts.rows += step_rows_;
    counts.seat_ms += static_cast<double>(step_slices_) * time.total_ms;
    counts.kv_reserved +=
        static_cast<double>(step_held_ * options_.limits.block_tokens) * time.total_ms;
    counts.kv_written += static_cast<double>(step_written_) * time.total_ms;
  }

  void take_update(const sequence_update& update) {
    const auto place = static_cast<std::size_t>(update.sequence.request);
    virtual_outcome& outcome = made_.outcomes[place];
    if (update.token && outcome.first_token == monotonic_time{}) outcome.first_token = now_;
    if (update.finished) finish(place, virtual_end::completed);
  }

  void finish(std::size_t place, virtual_end how) {
    virtual_outcome& outcome = made_.outcomes[place];
    TROUPE_CHECK(outcome.end == virtual_end::none);
    outcome.end = how;
    outcome.finished = std::max(now_, outcome.submitted);
    made_.end = std::max(made_.end, outcome.finished);
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
    // What was computed beyond what the requests consist of, less what the cache gave.
    const std::uint64_t first_time = wanted_rows_ - std::min(wanted_rows_, sums.prefix_hit_tokens);
    sums.recomputed_rows = sums.rows - std::min(sums.rows, first_time);
    if (sums.rows != 0)
      sums.useful_ms =
          (sums.busy_ms - sums.overhead_ms) *
          (1.0 - static_cast<double>(sums.recomputed_rows) / static_cast<double>(sums.rows));
  }

  const virtual_engine_options& options_;
  buffers& kept_;
  std::span<const virtual_request> requests_;
  submissions arrivals_;
  scheduler_core core_;
  virtual_result made_;
  monotonic_time now_{};
  std::uint64_t wanted_rows_ = 0;
  std::uint64_t step_rows_ = 0, step_held_ = 0, step_written_ = 0;  ///< step_held_ in blocks
  std::size_t step_slices_ = 0;
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
