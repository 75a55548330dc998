#include "runtime/simulate/static_batches.hpp"

#include <algorithm>
#include <cmath>
#include <deque>

#include <fmt/format.h>

#include "runtime/simulate/submissions.hpp"

namespace troupe::simulate {
namespace {

class batch_loop {
 public:
  batch_loop(const static_batches_options& options, std::uint32_t seats,
             std::span<const virtual_request> requests)
      : options_(options), requests_(requests), arrivals_(requests, options.clients) {
    made_.outcomes.resize(requests.size());
    made_.counts.seats = seats;
  }

  virtual_result run() {
    made_.is_streamed = false;
    while (!made_.is_unfinished) {
      submit_due();
      const auto next = arrivals_.next_time();
      if (waiting_.empty()) {
        if (!next) break;
        now_ = std::max(now_, *next);
      } else if (waiting_.size() >= made_.counts.seats || now_ >= patience_end()) {
        run_batch();
      } else {
        now_ = next ? std::min(*next, patience_end()) : patience_end();
      }
      made_.is_unfinished = now_ > virtual_time_max;
    }
    return std::move(made_);
  }

 private:
  [[nodiscard]] monotonic_time patience_end() const {
    return made_.outcomes[waiting_.front()].submitted + options_.wait_max;
  }

  void submit_due() {
    for (auto next = arrivals_.next_time(); next && *next <= now_; next = arrivals_.next_time()) {
      const std::size_t place = arrivals_.take();
      const virtual_request& request = requests_[place];
      made_.outcomes[place].submitted = *next;
      if (std::uint64_t{request.prompt_tokens} + request.output_tokens <= options_.reserved_tokens)
        waiting_.push_back(place);
      else
        finish(place, virtual_end::refused);
    }
  }

  void finish(std::size_t place, virtual_end how) {
    virtual_outcome& outcome = made_.outcomes[place];
    TROUPE_CHECK(outcome.end == virtual_end::none);
    outcome.first_token = outcome.finished = std::max(now_, outcome.submitted);
    const monotonic_time allowed = requests_[place].allowed;
    const bool is_late =
        allowed != monotonic_time{} && outcome.finished > outcome.submitted + allowed;
    outcome.end = how == virtual_end::completed && is_late ? virtual_end::missed : how;
    made_.end = std::max(made_.end, outcome.finished);
    arrivals_.ended(outcome.finished);
  }

  void run_batch() {
    const std::size_t count = std::min<std::size_t>(waiting_.size(), made_.counts.seats);
    batch_.assign(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
    for (const std::size_t place : batch_) made_.outcomes[place].started = now_;
    // Ascending by output, so that those still wanted are a tail.
    std::ranges::sort(batch_, {}, [this](std::size_t i) { return requests_[i].output_tokens; });
    made_.counts.startup_ms += options_.cold_start_ms;
    made_.counts.busy_ms += options_.cold_start_ms;
    double total_ms = options_.cold_start_ms;
    written_ = 0;
    const std::uint32_t longest = compute_prompts(total_ms);
    compute_answers(longest, total_ms);
    now_ += from_ms(total_ms);
    if (options_.observe) show(count);
    for (const std::size_t place : batch_) finish(place, virtual_end::completed);
  }

  /// Returns the length that every prompt was padded to.
  std::uint32_t compute_prompts(double& total_ms) {
    std::uint32_t longest = 0;
    for (const std::size_t place : batch_) {
      longest = std::max(longest, requests_[place].prompt_tokens);
      written_ += requests_[place].prompt_tokens;
    }
    step_shape shape;
    for (std::size_t i = 0; i < batch_.size(); ++i) shape.add(longest, 0, 1);
    count_step(shape, written_, total_ms);
    return longest;
  }

  void compute_answers(std::uint32_t longest, double& total_ms) {
    const auto rows = static_cast<std::uint32_t>(batch_.size());
    const std::uint32_t last = requests_[batch_.back()].output_tokens;
    std::size_t done = 0;  // of the batch, ended before this step
    for (std::uint32_t drawn = 1; drawn < last; ++drawn) {
      while (requests_[batch_[done]].output_tokens <= drawn) ++done;
      const std::uint64_t wanted = rows - done;
      written_ += wanted;
      step_shape shape;
      shape.decode_sequences = rows;
      shape.decode_pairs = std::uint64_t{rows} * (longest + drawn);
      shape.logit_rows = rows;
      count_step(shape, wanted, total_ms);
    }
  }

  void count_step(const step_shape& shape, std::uint64_t wanted_rows, double& total_ms) {
    const step_time time = options_.cost.time(shape);
    const auto rows = static_cast<double>(shape.tokens());
    virtual_counts& counts = made_.counts;
    ++counts.steps;
    counts.busy_ms += time.total_ms;
    counts.overhead_ms += time.overhead_ms;
    counts.useful_ms +=
        (time.total_ms - time.overhead_ms) * static_cast<double>(wanted_rows) / rows;
    counts.rows += shape.tokens();
    counts.padding_rows += shape.tokens() - wanted_rows;
    const auto sequences = static_cast<double>(batch_.size());
    counts.seat_ms += sequences * time.total_ms;
    counts.kv_reserved += sequences * options_.reserved_tokens * time.total_ms;
    counts.kv_written += static_cast<double>(written_) * time.total_ms;
    total_ms += time.total_ms;
  }

  void show(std::size_t running) const {
    options_.observe({now_, static_cast<std::uint32_t>(waiting_.size()),
                      static_cast<std::uint32_t>(running),
                      static_cast<double>(running) * options_.reserved_tokens /
                          static_cast<double>(options_.kv_positions)});
  }

  const static_batches_options& options_;
  std::span<const virtual_request> requests_;
  submissions arrivals_;
  virtual_result made_;
  monotonic_time now_{};
  std::deque<std::size_t> waiting_;
  std::vector<std::size_t> batch_;
  std::uint64_t written_ = 0;  ///< positions of the batch that hold what somebody asked for
};

}  // namespace

result<virtual_result> run_static_batches(const static_batches_options& options,
                                          std::span<const virtual_request> requests) {
  const std::uint64_t fitting = options.kv_positions / std::max(options.reserved_tokens, 1u);
  if (fitting == 0 || options.batch_size == 0)
    return error{errc::invalid_argument,
                 fmt::format("a KV cache of {} positions holds no sequence of {} reserved tokens",
                             options.kv_positions, options.reserved_tokens)};
  const auto seats =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(fitting, options.batch_size));
  return batch_loop(options, seats, requests).run();
}

}  // namespace troupe::simulate
