// How much of max_tokens requests use: a histogram of the ratio output / max_tokens that forgets
// slowly. Plain data: it is copied into what a composer is told.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>

namespace troupe {

class output_lengths {
 public:
  /// A request that ended by itself or at max_tokens after so many tokens.
  void observe(std::uint32_t output_tokens, std::uint32_t max_tokens) {
    if (max_tokens == 0) return;
    const double ratio = std::min(1.0, static_cast<double>(output_tokens) / max_tokens);
    for (double& each : weights_) each *= keep;
    weights_[std::min(bin_count - 1, static_cast<std::size_t>(ratio * bin_count))] += 1.0;
  }

  /// The length at quantile `uniform` of those beyond `produced_tokens`, in
  /// [max(1, produced_tokens + 1), max(1, max_tokens)].
  [[nodiscard]] std::uint32_t draw(double uniform, std::uint32_t produced_tokens,
                                   std::uint32_t max_tokens) const {
    const double produced = ratio_of(produced_tokens, max_tokens);
    double left = uniform * weight_beyond(produced);
    double ratio = 1.0;
    for (std::size_t i = 0; i < bin_count; ++i) {
      const double weight = weight_in(i, produced);
      if (weight > 0.0 && left < weight) {
        ratio = std::lerp(std::max(produced, edge(i)), edge(i + 1), left / weight);
        break;
      }
      left -= weight;
    }
    return length_of(ratio, produced_tokens, max_tokens);
  }

  /// Their mean, with the bounds of draw().
  [[nodiscard]] std::uint32_t mean(std::uint32_t produced_tokens, std::uint32_t max_tokens) const {
    const double produced = ratio_of(produced_tokens, max_tokens);
    const double weight = weight_beyond(produced);
    double sum = 0.0;
    for (std::size_t i = 0; i < bin_count; ++i)
      sum += weight_in(i, produced) * std::midpoint(std::max(produced, edge(i)), edge(i + 1));
    return length_of(weight > 0.0 ? sum / weight : 1.0, produced_tokens, max_tokens);
  }

 private:
  static constexpr std::size_t bin_count = 16;
  /// The last 100 requests count.
  static constexpr double keep = 0.99;

  static double ratio_of(std::uint32_t tokens, std::uint32_t max_tokens) {
    return max_tokens == 0 ? 0.0 : static_cast<double>(tokens) / max_tokens;
  }
  static std::uint32_t length_of(double ratio, std::uint32_t produced_tokens,
                                 std::uint32_t max_tokens) {
    const auto tokens = static_cast<std::uint32_t>(std::ceil(ratio * max_tokens));
    const std::uint32_t most = std::max(1u, max_tokens);
    return std::clamp(tokens, std::min(most, produced_tokens + 1u), most);
  }
  static double edge(std::size_t i) { return static_cast<double>(i) / bin_count; }
  /// Of the part of a bin that lies beyond the ratio.
  [[nodiscard]] double weight_in(std::size_t i, double ratio) const {
    return weights_[i] * std::max(0.0, edge(i + 1) - std::max(ratio, edge(i))) * bin_count;
  }
  [[nodiscard]] double weight_beyond(double ratio) const {
    double sum = 0.0;
    for (std::size_t i = 0; i < bin_count; ++i) sum += weight_in(i, ratio);
    return sum;
  }

  /// Before anything was seen: any share is as likely as another, with the weight of one request.
  std::array<double, bin_count> weights_ = [] {
    std::array<double, bin_count> even{};
    even.fill(1.0 / bin_count);
    return even;
  }();
};

}  // namespace troupe
