#include "runtime/schedule/step_budget.hpp"

#include <algorithm>

namespace troupe {

namespace {

/// Weight of the newest step: a chunk costs more the further into its prompt it lies, so old ones
/// are forgotten soon.
constexpr double newest_weight = 0.5;

}  // namespace

void step_budget::observe(std::uint32_t prompt_tokens, std::uint32_t decode_tokens,
                          double compute_ms) {
  if (prompt_tokens < prompt_tokens_min || prompt_tokens < decode_tokens || compute_ms <= 0.0)
    return;
  const double measured = compute_ms / (prompt_tokens + decode_tokens);
  ms_per_token_ = ms_per_token_ == 0.0
                      ? measured
                      : newest_weight * measured + (1.0 - newest_weight) * ms_per_token_;
}

std::uint32_t step_budget::tokens(double ms_max, std::uint32_t decode_tokens) const {
  const std::uint32_t least = decode_tokens + prompt_tokens_min;
  if (ms_per_token_ == 0.0) return std::max(least, prompt_tokens_first);
  const double fitting = std::min(ms_max / ms_per_token_, static_cast<double>(1u << 30));
  return std::max(least, static_cast<std::uint32_t>(fitting));
}

}  // namespace troupe
