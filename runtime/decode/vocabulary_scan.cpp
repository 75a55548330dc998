// Plain loops over fixed-size blocks, with as many independent lanes as hide the latency of max and
// add.
#include "runtime/decode/vocabulary_scan.hpp"

#include <algorithm>
#include <array>
#include <functional>

namespace troupe {
namespace {

constexpr std::size_t lane_count = 16;  // four SSE registers
static_assert(scan_block_tokens % lane_count == 0);

// `value > best ? value : best` is false for NaN, which therefore never wins.
float max_of_block(const float* logits) noexcept {
  std::array<float, lane_count> best;
  best.fill(no_logit);
  for (std::size_t i = 0; i < scan_block_tokens; i += lane_count) {
    for (std::size_t j = 0; j < lane_count; ++j) {
      const float value = logits[i + j];
      best[j] = value > best[j] ? value : best[j];
    }
  }
  for (std::size_t width = lane_count / 2; width > 0; width /= 2) {
    for (std::size_t j = 0; j < width; ++j) {
      best[j] = best[j + width] > best[j] ? best[j + width] : best[j];
    }
  }
  return best[0];
}

float max_of_tail(std::span<const float> logits) noexcept {
  float best = no_logit;
  for (const float value : logits) best = value > best ? value : best;
  return best;
}

}  // namespace

void fill_block_maxima(std::span<const float> logits, std::vector<float>& maxima) {
  const std::size_t whole = logits.size() / scan_block_tokens;
  maxima.resize((logits.size() + scan_block_tokens - 1) / scan_block_tokens);
  for (std::size_t b = 0; b < whole; ++b) {
    maxima[b] = max_of_block(logits.data() + b * scan_block_tokens);
  }
  if (whole < maxima.size()) maxima[whole] = max_of_tail(logits.subspan(whole * scan_block_tokens));
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
