// Synthetic prompts of exact length, made as vLLM's client makes its random data: consecutive ids
// from a drawn place of the vocabulary, decoded to text and encoded again until the count holds.
#pragma once

#include "bench/serve/work.hpp"
#include "kernels/base/result.hpp"
#include "runtime/text/tokenizer.hpp"

namespace troupe::bench {

struct random_options {
  std::size_t request_count = 1000;
  std::uint64_t seed = 0;
  std::uint32_t input_tokens = 1024;  ///< without the prefix
  std::uint32_t output_tokens = 128;
  double range_ratio =
      0.0;  ///< in [0, 1): lengths are uniform on mean * (1 - ratio) .. mean * (1 + ratio)
  std::uint32_t prefix_tokens = 0;  ///< the same in all prompts
};

/// Errors: invalid_argument (bounds; a vocabulary of special tokens only).
result<std::vector<work_item>> make_random_prompts(const tokenizer& tokens,
                                                   const random_options& options);

}  // namespace troupe::bench
