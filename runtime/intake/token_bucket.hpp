// A token rate with a burst: what a tenant may use. A plain object; time is handed in.
//
// Whoever comes while the level is above zero is charged in full, below zero if need be: no charge
// is too large for the burst, and over a span T no more than burst + rate x T + one charge is
// taken.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>

namespace troupe {

class token_bucket {
 public:
  /// Full at `start`. tokens_per_second and burst_tokens are above zero.
  token_bucket(double tokens_per_second, double burst_tokens, std::chrono::nanoseconds start)
      : rate_(tokens_per_second), burst_(burst_tokens), level_(burst_tokens), at_(start) {}

  [[nodiscard]] bool is_open(std::chrono::nanoseconds now) {
    fill(now);
    return level_ > 0.0;
  }
  /// False, with nothing taken, unless it is open.
  [[nodiscard]] bool charge(double tokens, std::chrono::nanoseconds now) {
    if (!is_open(now)) return false;
    level_ -= tokens;
    return true;
  }
  /// What a charge took and nobody used.
  void refund(double tokens, std::chrono::nanoseconds now) {
    fill(now);
    level_ = std::min(burst_, level_ + tokens);
  }
  /// Until it is open again, at the rate alone; zero when it is.
  [[nodiscard]] std::chrono::milliseconds wait(std::chrono::nanoseconds now) {
    if (is_open(now)) return {};
    return std::chrono::milliseconds{static_cast<std::int64_t>(-level_ / rate_ * 1e3) + 1};
  }
  [[nodiscard]] double tokens_per_second() const { return rate_; }

 private:
  /// Time that goes backwards between threads counts as standing still.
  void fill(std::chrono::nanoseconds now) {
    if (now <= at_) return;
    level_ = std::min(burst_, level_ + rate_ * std::chrono::duration<double>(now - at_).count());
    at_ = now;
  }

  double rate_, burst_, level_;
  std::chrono::nanoseconds at_;
};

}  // namespace troupe
