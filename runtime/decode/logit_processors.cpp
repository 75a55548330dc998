// Penalties as vLLM computes them (vllm/model_executor/layers/utils.py, apply_penalties).
#include "runtime/decode/logit_processors.hpp"

#include "kernels/base/check.hpp"
#include "runtime/decode/vocabulary_scan.hpp"

namespace troupe {

logit_processors::logit_processors(std::size_t vocab_size)
    : row_(vocab_size), counts_(vocab_size) {}

std::span<const float> logit_processors::apply(std::span<const float> logits,
                                               const sampling_params& params,
                                               const sampling_context& context) {
  if (params.logit_bias.empty() && context.forbidden.empty() && !params.needs_history()) {
    return logits;
  }
  row_.assign(logits.begin(), logits.end());
  for (const auto& [id, bias] : params.logit_bias) {
    TROUPE_CHECK(to_index(id) < row_.size());
    row_[to_index(id)] += bias;
  }
  for (const token_id id : context.forbidden) {
    TROUPE_CHECK(to_index(id) < row_.size());
    row_[to_index(id)] = no_logit;
  }
  if (params.needs_history()) apply_penalties(params, context);
  return row_;
}

void logit_processors::count(std::span<const token_id> tokens, std::uint32_t weight) {
  for (const token_id id : tokens) {
    TROUPE_CHECK(to_index(id) < counts_.size());
    std::uint32_t& times = counts_[to_index(id)];
    if (times == 0) touched_.push_back(static_cast<std::uint32_t>(id));
    times = (times + weight) | 1u;
  }
}

void logit_processors::apply_penalties(const sampling_params& params,
                                       const sampling_context& context) {
  if (params.repetition_penalty != 1.0f) count(context.prompt, 0);
  count(context.output, 2);
  for (const std::uint32_t id : touched_) {
    float& logit = row_[id];
    if (params.repetition_penalty != 1.0f) {
      logit = logit > 0.0f ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    }
    const std::uint32_t times = counts_[id] / 2;
    if (times > 0) {
      logit -= params.frequency_penalty * static_cast<float>(times);
      logit -= params.presence_penalty;
    }
    counts_[id] = 0;
  }
  touched_.clear();
}

}  // namespace troupe
