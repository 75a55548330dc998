#include "bench/serve/load_run.hpp"

#include <algorithm>
#include <utility>

namespace troupe::bench {

load_run::load_run(load_run_options options)
    : options_(std::move(options)),
      records_(options_.arrivals_s.size()),
      states_(options_.arrivals_s.size(), state::waiting) {}

std::optional<double> load_run::next_due_s() const {
  if (next_ == records_.size() || !has_room()) return std::nullopt;
  return options_.arrivals_s[next_];
}

std::optional<std::size_t> load_run::take_due(double now_s) {
  const auto due = next_due_s();
  if (!due || *due > now_s) return std::nullopt;
  const std::size_t index = next_++;
  states_[index] = state::running;
  ++running_count_;
  request_record& record = records_[index];
  record.start_s = options_.counts_from_arrival ? *due : now_s;
  record.lag_s = now_s - std::max(*due, room_since_s_);
  return index;
}

void load_run::on_tokens(std::size_t index, double now_s, std::uint32_t count) {
  if (!is_running(index)) return;
  request_record& record = records_[index];
  if (record.has_tokens)
    record.gaps_s.push_back(now_s - record.last_s);
  else
    record.first_s = now_s;
  record.has_tokens = true;
  record.last_s = now_s;
  record.output_tokens += count;
}

void load_run::on_usage(std::size_t index, std::uint32_t prompt_tokens,
                        std::uint32_t output_tokens) {
  if (!is_running(index)) return;
  records_[index].prompt_tokens = prompt_tokens;
  records_[index].output_tokens = output_tokens;
}

void load_run::on_end(std::size_t index, double now_s) {
  if (!is_running(index)) return;
  if (!records_[index].has_tokens)
    return on_failure(index, now_s, "the answer ended without a token");
  records_[index].is_ok = true;
  end(index, now_s);
}

void load_run::on_failure(std::size_t index, double now_s, std::string message) {
  if (!is_running(index)) return;
  records_[index].failure = std::move(message);
  end(index, now_s);
}

void load_run::fail_all(double now_s, const std::string& message) {
  for (std::size_t index = 0; index < next_; ++index) on_failure(index, now_s, message);
  while (next_ < records_.size()) {
    const std::size_t index = next_++;
    states_[index] = state::running;
    ++running_count_;
    on_failure(index, now_s, message);
  }
}

void load_run::end(std::size_t index, double now_s) {
  if (!has_room()) room_since_s_ = now_s;
  states_[index] = state::ended;
  --running_count_;
  ++ended_count_;
  last_end_s_ = std::max(last_end_s_, now_s);
  if (options_.on_ended) options_.on_ended(ended_count_);
}

}  // namespace troupe::bench
