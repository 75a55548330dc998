// The sampler again, as plainly as possible: doubles, full sorts, no bounds. The specification that
// the fast one is compared with.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/decode/counter_random.hpp"
#include "runtime/decode/sampler.hpp"

namespace troupe::naive {

inline constexpr double impossible = -std::numeric_limits<double>::infinity();

inline std::vector<double> processed(std::span<const float> logits, const sampling_params& params,
                                     const sampling_context& context) {
  std::vector<double> row;
  for (const float value : logits) row.push_back(std::isnan(value) ? impossible : value);
  for (const auto& [id, bias] : params.logit_bias) row[to_index(id)] += bias;
  for (const token_id id : context.forbidden) row[to_index(id)] = impossible;
  if (!params.needs_history()) return row;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const auto id = static_cast<token_id>(i);
    const auto in_prompt = std::count(context.prompt.begin(), context.prompt.end(), id);
    const auto in_output = std::count(context.output.begin(), context.output.end(), id);
    if (in_prompt + in_output > 0) {
      row[i] = row[i] > 0 ? row[i] / params.repetition_penalty : row[i] * params.repetition_penalty;
    }
    row[i] -= params.frequency_penalty * static_cast<double>(in_output);
    row[i] -= in_output > 0 ? params.presence_penalty : 0.0;
  }
  return row;
}

struct ranked {
  double logit;
  std::uint32_t id;
};

/// Tokens that may be drawn, best first. `margin` widens (positive) or narrows (negative) every
/// real-valued threshold, so that a test can tell a rounding difference from a wrong set.
inline std::vector<ranked> survivors(const std::vector<double>& row, const sampling_params& params,
                                     double margin) {
  std::vector<ranked> order;
  for (std::uint32_t i = 0; i < row.size(); ++i) {
    if (row[i] > impossible) order.push_back({row[i], i});
  }
  std::sort(order.begin(), order.end(), [](const ranked& a, const ranked& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  });
  if (order.empty()) return order;
  const double top = order.front().logit;
  const auto weight = [&](const ranked& token) {
    return std::exp((token.logit - top) / static_cast<double>(params.temperature));
  };
  if (params.min_p > 0) {
    std::erase_if(order, [&](const ranked& t) { return weight(t) < params.min_p * (1 - margin); });
  }
  if (params.top_k > 0 && order.size() > static_cast<std::size_t>(params.top_k)) {
    order.resize(static_cast<std::size_t>(params.top_k));
  }
  if (params.top_p < 1.0f) {
    double total = 0;
    for (const ranked& token : order) total += weight(token);
    double mass = 0;
    std::size_t kept = 0;
    while (kept < order.size() && (kept == 0 || mass < params.top_p * total * (1 + margin))) {
      mass += weight(order[kept++]);
    }
    order.resize(kept);
  }
  return order;
}

inline std::uint32_t draw(const std::vector<ranked>& tokens, const sampling_params& params,
                          const sampling_context& context) {
  const token_noise noise(params.seed, context.sequence, context.position);
  double best = impossible;
  std::uint32_t winner = 0;
  for (const ranked& token : tokens) {
    const double u = uniform_of(noise.block(token.id / 4)[token.id % 4]);
    const double key =
        (token.logit - tokens.front().logit) / static_cast<double>(params.temperature) -
        std::log(-std::log(u));
    if (key > best || (key == best && token.id < winner)) {
      best = key;
      winner = token.id;
    }
  }
  return winner;
}

}  // namespace troupe::naive
