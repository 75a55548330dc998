// No full sort: top_k goes by block maxima (vocabulary_scan), top_p first drops what cannot belong
// to the nucleus and then bisects the rest by mass, which is linear.
#include "runtime/decode/token_cut.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace troupe {
namespace {

token_cut cut_after(const candidate& last) {
  return {last.logit, static_cast<std::int64_t>(last.id)};
}

struct nucleus {
  float maximum;
  float scale;    // 1 / temperature
  double target;  // mass to reach, in units of exp((logit - maximum) * scale)

  [[nodiscard]] double weight(const candidate& token) const {
    return static_cast<double>(exp_nonpositive((token.logit - maximum) * scale));
  }

  // The last token of the smallest beginning of the order that reaches the target: a histogram of
  // mass by logit finds the slice that holds it, then each round halves that slice. All tokens
  // together may fall short by rounding: then the last of them all. `lowest` is no larger than any
  // logit.
  [[nodiscard]] candidate last_of(std::vector<candidate>& tokens, float lowest) const {
    double before = keep_crossing_slice(tokens, lowest);
    auto first = tokens.begin();
    auto end = tokens.end();
    while (end - first > 1) {
      const auto middle = first + (end - first) / 2;
      std::nth_element(first, middle, end, comes_before);
      double mass = before;
      for (auto token = first; token != middle; ++token) mass += weight(*token);
      if (mass >= target) {
        end = middle;
      } else {
        before = mass;
        first = middle;
      }
    }
    return *first;
  }

 private:
  // Leaves one slice of the range of logits in `tokens`; returns the mass before it.
  double keep_crossing_slice(std::vector<candidate>& tokens, float lowest) const {
    constexpr std::size_t slice_count = 256;
    const float width = (maximum - lowest) / static_cast<float>(slice_count);
    if (!(width > 0.0f) || !std::isfinite(width)) return 0.0;
    const auto slice_of = [&](const candidate& token) {
      return std::min(static_cast<std::size_t>((maximum - token.logit) / width), slice_count - 1);
    };
    std::array<double, slice_count> masses{};
    std::size_t slice_last = 0;
    for (const candidate& token : tokens) {
      const std::size_t slice = slice_of(token);
      masses[slice] += weight(token);
      slice_last = std::max(slice_last, slice);
    }
    double before = 0.0;
    std::size_t slice = 0;
    std::size_t crossing = 0;
    double before_crossing = 0.0;
    for (; slice <= slice_last; ++slice) {
      if (masses[slice] > 0.0) {
        crossing = slice;
        before_crossing = before;
      }
      before += masses[slice];
      if (before >= target) break;
    }
    std::erase_if(tokens, [&](const candidate& token) { return slice_of(token) != crossing; });
    return before_crossing;
  }
};

// Tokens that top_p has to look at, where the whole row is still in play. Those lighter than the
// mass that top_p drops, divided by the number of tokens, are dropped together with everything
// below them.
void gather_heavy(std::span<const float> logits, std::span<const float> block_maxima, float floor,
                  std::vector<candidate>& out) {
  out.clear();
  for (std::size_t b = 0; b < block_maxima.size(); ++b) {
    if (!(block_maxima[b] >= floor)) continue;
    const std::size_t last = std::min((b + 1) * scan_block_tokens, logits.size());
    for (std::size_t i = b * scan_block_tokens; i < last; ++i) {
      if (logits[i] >= floor && logits[i] > no_logit) {
        out.push_back({logits[i], static_cast<std::uint32_t>(i)});
      }
    }
  }
}

}  // namespace

token_cut find_cut(std::span<const float> logits, std::span<const float> block_maxima,
                   const candidate& top, const sampling_params& params, cut_scratch& scratch) {
  token_cut cut;
  const float scale = 1.0f / params.temperature;
  if (params.min_p > 0.0f) {
    cut.logit = static_cast<float>(static_cast<double>(top.logit) +
                                   static_cast<double>(params.temperature) *
                                       std::log(static_cast<double>(params.min_p)));
    cut.logit = std::min(cut.logit, top.logit);
    cut.id_last = std::numeric_limits<std::int64_t>::max();
  }

  auto& tokens = scratch.candidates;
  const bool by_k = params.top_k > 0 && static_cast<std::size_t>(params.top_k) < logits.size();
  if (by_k) {
    select_largest(logits, block_maxima, static_cast<std::size_t>(params.top_k), tokens,
                   scratch.block_maxima);
    std::erase_if(tokens,
                  [&](const candidate& token) { return !cut.keeps(token.logit, token.id); });
    cut = cut_after(*std::max_element(tokens.begin(), tokens.end(), comes_before));
  }
  if (params.top_p >= 1.0f) return cut;

  nucleus core{top.logit, scale, 0.0};
  double total = 0.0;
  float lowest = cut.logit;
  if (by_k) {
    for (const candidate& token : tokens) total += core.weight(token);
  } else {
    total = sum_of_exp(logits, top.logit, scale, cut.logit);
    const double lightest =
        (1.0 - static_cast<double>(params.top_p)) * total / static_cast<double>(logits.size());
    // A thousandth lighter than the bound, against rounding here and in exp.
    const double floor = static_cast<double>(top.logit) +
                         static_cast<double>(params.temperature) * (std::log(lightest) - 1e-3);
    lowest = std::max(cut.logit, std::nextafter(static_cast<float>(floor), no_logit));
    gather_heavy(logits, block_maxima, lowest, tokens);
  }
  core.target = static_cast<double>(params.top_p) * total;
  return cut_after(core.last_of(tokens, lowest));
}

}  // namespace troupe
