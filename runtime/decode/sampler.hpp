// Draws tokens: processors, then Gumbel-max with a counter-based generator keyed by (request seed,
// sequence, position), so that a replay, another batch or another worker with the same logits draws
// the same token (design, section 4.4). No state between calls.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "kernels/base/index_types.hpp"
#include "runtime/decode/generation_params.hpp"

namespace troupe {

struct sampling_context {
  std::span<const token_id> prompt;  ///< read only when params.needs_history()
  std::span<const token_id> output;  ///< likewise: tokens generated so far by this sequence
  std::span<const token_id>
      forbidden;               ///< ids that must not be drawn (EOS and stop ids before min_tokens)
  std::uint32_t sequence = 0;  ///< index of the sequence in its request
  std::uint64_t position = 0;  ///< absolute position of the token to be drawn
};

/// Reused scratch memory of one thread; only grows.
struct sampler_scratch;

class sampler {
 public:
  explicit sampler(std::size_t vocab_size);
  ~sampler();
  sampler(sampler&&) noexcept;
  sampler& operator=(sampler&&) noexcept;

  /// logits: vocab_size raw logits; not changed. Order: logprobs of the raw logits; logit_bias,
  /// forbidden, repetition, presence and frequency penalties; temperature 0 takes the largest
  /// (ties: lowest id); else logits / temperature, min_p, top_k, top_p, Gumbel-max.
  sampled_token sample(std::span<const float> logits, const sampling_params& params,
                       const sampling_context& context);

  /// Logprob of a given token and the `count` most probable ones (prompt logprobs).
  sampled_token score(std::span<const float> logits, token_id token, std::uint32_t count);

 private:
  std::unique_ptr<sampler_scratch> scratch_;
};

}  // namespace troupe
