// What changes single logits before anything is selected: bias, forbidden ids, penalties. All of
// them touch few tokens, so a row is copied once and then written at those tokens only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/decode/generation_params.hpp"
#include "runtime/decode/sampler.hpp"

namespace troupe {

class logit_processors {
 public:
  explicit logit_processors(std::size_t vocab_size);

  /// The row to select from: `logits` itself where nothing applies, else a copy that lives until
  /// the next call. Order: logit_bias, forbidden (-infinity), repetition penalty (positive logits
  /// divided, others multiplied; prompt and output), frequency and presence penalties (output). Ids
  /// must be in the vocabulary.
  std::span<const float> apply(std::span<const float> logits, const sampling_params& params,
                               const sampling_context& context);

 private:
  void apply_penalties(const sampling_params& params, const sampling_context& context);
  void count(std::span<const token_id> tokens, std::uint32_t weight);

  std::vector<float> row_;
  std::vector<std::uint32_t>
      counts_;  // by id, zero between calls; bit 0: seen, rest: times in the output
  std::vector<std::uint32_t> touched_;  // ids whose count is not zero
};

}  // namespace troupe
