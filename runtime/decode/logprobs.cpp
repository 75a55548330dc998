// The sum is the vectorized one of vocabulary_scan; the selection never sorts more than was asked
// for.
#include "runtime/decode/logprobs.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/base/check.hpp"

namespace troupe {
namespace {

std::uint32_t count_larger(std::span<const float> logits, float logit) {
  std::uint32_t larger = 0;
  for (const float value : logits) larger += value > logit ? 1u : 0u;
  return larger;
}

}  // namespace

double log_sum_exp(std::span<const float> logits, const candidate& top) {
  if (!std::isfinite(top.logit)) return static_cast<double>(top.logit);
  return static_cast<double>(top.logit) +
         std::log(sum_of_exp(logits, top.logit, 1.0f, std::numeric_limits<float>::lowest()));
}

void fill_logprobs(std::span<const float> logits, std::span<const float> block_maxima,
                   std::uint32_t count, sampled_token& out, cut_scratch& scratch) {
  TROUPE_CHECK(to_index(out.token) < logits.size());
  const candidate top = largest(logits, block_maxima);
  const double total = log_sum_exp(logits, top);
  // An infinite row has no probabilities: its infinite logits count as certain, all others as
  // impossible.
  const auto logprob_of = [&](float logit) {
    if (std::isnan(logit) || logit == no_logit) return no_logit;
    if (std::isinf(total)) return logit == top.logit ? 0.0f : no_logit;
    return static_cast<float>(static_cast<double>(logit) - total);
  };
  const float raw = logits[to_index(out.token)];
  const float logit = std::isnan(raw) ? no_logit : raw;
  out.logprob = logprob_of(logit);
  out.rank = 1 + count_larger(logits, logit);

  select_largest(logits, block_maxima, count, scratch.candidates, scratch.block_maxima);
  std::sort(scratch.candidates.begin(), scratch.candidates.end(), comes_before);
  out.top.clear();
  out.top.reserve(scratch.candidates.size());
  for (const candidate& each : scratch.candidates) {
    out.top.push_back({static_cast<token_id>(each.id), logprob_of(each.logit)});
  }
}

}  // namespace troupe
