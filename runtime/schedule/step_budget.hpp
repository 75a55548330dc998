// How many tokens a step may hold so that it is predicted to take no longer than it may: prompts
// are cut into chunks of what recent chunks cost. A plain object; durations are handed in.
#pragma once

#include <cstdint>

namespace troupe {

class step_budget {
 public:
  /// A step that took place. Steps of few prompt tokens say little about the cost of one and are
  /// not counted.
  void observe(std::uint32_t prompt_tokens, std::uint32_t decode_tokens, double compute_ms);

  /// Tokens, decodes included, for a step of at most ms_max: at least prompt_tokens_min beside the
  /// decodes, so that prompts always get on.
  [[nodiscard]] std::uint32_t tokens(double ms_max, std::uint32_t decode_tokens) const;

  static constexpr std::uint32_t prompt_tokens_min = 16;
  /// Until something has been measured.
  static constexpr std::uint32_t prompt_tokens_first = 256;

 private:
  double ms_per_token_ = 0.0;  ///< 0: nothing measured yet
};

}  // namespace troupe
