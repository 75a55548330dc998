// Passes over a row of logits: block maxima, the largest k, sums of exponentials. Tokens are
// ordered by (logit descending, id ascending), so that every selection is unique. NaN counts as
// -infinity everywhere. No instruction set changes a result.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "kernels/block_maxima/block_maxima.hpp"

namespace troupe {

inline constexpr float no_logit = -std::numeric_limits<float>::infinity();

/// Tokens that share one maximum: few enough that a block is cheap to visit.
inline constexpr std::size_t scan_block_tokens = kernels::maxima_block;

/// One token with its (processed) logit.
struct candidate {
  float logit = no_logit;
  std::uint32_t id = 0;
};

/// The order of all selections.
constexpr bool comes_before(const candidate& a, const candidate& b) noexcept {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

/// Fills `maxima` with one value for each block of scan_block_tokens; a block of NaN alone has
/// no_logit.
void fill_block_maxima(std::span<const float> logits, std::vector<float>& maxima);

/// The first token in the order; {no_logit, 0} where no logit is above -infinity.
candidate largest(std::span<const float> logits, std::span<const float> block_maxima);

/// Replaces `out` by the `count` first tokens of the order (fewer where fewer are above -infinity),
/// in no particular order themselves. `block_scratch` is overwritten.
void select_largest(std::span<const float> logits, std::span<const float> block_maxima,
                    std::size_t count, std::vector<candidate>& out,
                    std::vector<float>& block_scratch);

/// exp(x) for x <= 0 to 2 ulp; below -87 and for NaN a value under 2e-38. Cephes' expf polynomial.
float exp_nonpositive(float x) noexcept;

/// Sum over i of exp((logits[i] - maximum) * scale), in double, over logits >= floor. scale > 0,
/// maximum is finite and no smaller than any logit.
double sum_of_exp(std::span<const float> logits, float maximum, float scale, float floor) noexcept;

}  // namespace troupe
