// Which tokens may be drawn after min_p, top_k and top_p. Each of them keeps a beginning of the
// order (logit descending, id ascending), so their combination is one place in that order: the last
// token kept.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "runtime/decode/generation_params.hpp"
#include "runtime/decode/vocabulary_scan.hpp"

namespace troupe {

/// Keeps tokens with a logit above `logit`, and those at it up to `id_last`. The default keeps all
/// but -infinity and NaN.
struct token_cut {
  float logit = no_logit;
  std::int64_t id_last = -1;

  [[nodiscard]] constexpr bool keeps(float value, std::uint32_t id) const noexcept {
    return value > logit || (value == logit && static_cast<std::int64_t>(id) <= id_last);
  }
};

struct cut_scratch {
  std::vector<candidate> candidates;
  std::vector<float> block_maxima;
};

/// The cut for logits / temperature (> 0), as vLLM defines it: min_p relative to the largest
/// probability; then the top_k largest, exactly k, ties to the lower id, so that top_k = 1 is
/// greedy; then top_p: the smallest beginning whose probability, renormalized over what is left,
/// reaches p. `top` is the first token of the order and is always kept.
token_cut find_cut(std::span<const float> logits, std::span<const float> block_maxima,
                   const candidate& top, const sampling_params& params, cut_scratch& scratch);

}  // namespace troupe
