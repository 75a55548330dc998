// From what a client sent to what the engine runs: every range is checked here, once, for HTTP and
// ZeroMQ alike. The first problem is the error; it names the field, the value and what would be
// accepted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/base/result.hpp"
#include "runtime/decode/generation_params.hpp"
#include "runtime/messages/request.hpp"

namespace troupe {

struct request_bounds {
  std::uint32_t max_model_len = 0;
  std::size_t vocab_size = 0;
  std::string served_model_name;
};

/// Checks all but the prompt's length, which is known only after tokenizing. Integers, floats (NaN,
/// infinity), exactly one prompt kind, model name, n, stop (count, length, not empty), logit_bias
/// keys ... max_tokens absent becomes max_model_len (cut by fit_to_context). seed absent takes
/// drawn_seed.
result<generation_params> validate_submit(const submit& request, const request_bounds& bounds,
                                          std::uint64_t drawn_seed);

/// After tokenizing: prompt not empty, prompt + 1 <= max_model_len (prompt alone where max_tokens
/// is 0), max_tokens given explicitly must fit (prompt + max_tokens <= max_model_len, else an error
/// with the numbers, as vLLM does); absent is cut to what fits.
result<void> fit_to_context(generation_params& params, bool max_tokens_given,
                            std::size_t prompt_tokens, const request_bounds& bounds);

/// After fit_to_context: the logprobs that the request may have reported stay within
/// logprob_entries_max, of which each of sibling_count prompts has an equal share.
result<void> check_logprob_entries(const generation_params& params, std::size_t prompt_tokens,
                                   std::uint32_t sibling_count);

}  // namespace troupe
