// Gumbel-max: the largest (logit - maximum) / temperature - log(-log(u)) is a draw from the softmax
// (Gumbel 1954; Maddison, Tarlow, Minka, "A* sampling", 2014).
#pragma once

#include <cstdint>
#include <span>

#include "runtime/decode/counter_random.hpp"
#include "runtime/decode/token_cut.hpp"
#include "runtime/decode/vocabulary_scan.hpp"

namespace troupe {

/// Draws among the tokens that the cut keeps. `top` is the first of the order, finite. Ties of keys
/// go to the lower id.
std::uint32_t gumbel_draw(std::span<const float> logits, std::span<const float> block_maxima,
                          const candidate& top, const token_cut& cut, float temperature,
                          const token_noise& noise);

}  // namespace troupe
