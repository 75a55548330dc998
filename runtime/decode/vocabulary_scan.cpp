#include "runtime/decode/vocabulary_scan.hpp"

#include <algorithm>
#include <functional>

namespace troupe {

void fill_block_maxima(std::span<const float> logits, std::vector<float>& maxima) {
  maxima.resize((logits.size() + scan_block_tokens - 1) / scan_block_tokens);
  kernels::fill_block_maxima(best_isa(), logits, maxima);  // every variant gives the same
}

candidate largest(std::span<const float> logits, std::span<const float> block_maxima) {
  std::size_t best = 0;
  for (std::size_t b = 1; b < block_maxima.size(); ++b) {
    if (block_maxima[b] > block_maxima[best]) best = b;
  }
  if (block_maxima.empty() || block_maxima[best] == no_logit) return {};
  const std::size_t first = best * scan_block_tokens;
  const std::size_t last = std::min(first + scan_block_tokens, logits.size());
  std::size_t i = first;
  while (i + 1 < last && logits[i] != block_maxima[best]) ++i;
  return {logits[i], static_cast<std::uint32_t>(i)};
}

void select_largest(std::span<const float> logits, std::span<const float> block_maxima,
                    std::size_t count, std::vector<candidate>& out,
                    std::vector<float>& block_scratch) {
  out.clear();
  if (count == 0) return;
  // At least `count` tokens are no smaller than the count-th largest block maximum.
  float floor = no_logit;
  if (count <= block_maxima.size()) {
    block_scratch.assign(block_maxima.begin(), block_maxima.end());
    const auto nth = block_scratch.begin() + static_cast<std::ptrdiff_t>(count - 1);
    std::nth_element(block_scratch.begin(), nth, block_scratch.end(), std::greater<>{});
    floor = *nth;
  }
  for (std::size_t b = 0; b < block_maxima.size(); ++b) {
    if (!(block_maxima[b] >= floor)) continue;
    const std::size_t last = std::min((b + 1) * scan_block_tokens, logits.size());
    for (std::size_t i = b * scan_block_tokens; i < last; ++i) {
      if (logits[i] >= floor && logits[i] > no_logit) {
        out.push_back({logits[i], static_cast<std::uint32_t>(i)});
      }
    }
  }
  if (out.size() <= count) return;
  std::nth_element(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(count - 1), out.end(),
                   comes_before);
  out.resize(count);
}

}  // namespace troupe
