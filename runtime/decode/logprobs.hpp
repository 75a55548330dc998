// Log-softmax of raw logits, for the one token drawn and the most probable ones.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/decode/generation_params.hpp"
#include "runtime/decode/token_cut.hpp"
#include "runtime/decode/vocabulary_scan.hpp"

namespace troupe {

/// Natural log of the sum of exp over the row, in double; -infinity where no logit is above it.
double log_sum_exp(std::span<const float> logits, const candidate& top);

/// Fills logprob, rank (1 + the number of tokens with a larger logit) and the `count` most probable
/// tokens. `block_maxima` are those of `logits`.
void fill_logprobs(std::span<const float> logits, std::span<const float> block_maxima,
                   std::uint32_t count, sampled_token& out, cut_scratch& scratch);

}  // namespace troupe
