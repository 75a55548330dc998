// The order of things; each stage is a file of its own.
#include "runtime/decode/sampler.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/base/check.hpp"
#include "runtime/decode/gumbel_draw.hpp"
#include "runtime/decode/logit_processors.hpp"
#include "runtime/decode/logprobs.hpp"
#include "runtime/decode/token_cut.hpp"

namespace troupe {
namespace {

// As vLLM: below this a temperature means greedy.
constexpr float greedy_temperature = 1e-5f;

// Nothing can be drawn by its logit. The sequence still needs a token: the lowest id that is not
// forbidden.
std::uint32_t first_allowed(std::size_t vocab_size, std::span<const token_id> forbidden) {
  for (std::size_t id = 0; id < vocab_size; ++id) {
    if (std::find(forbidden.begin(), forbidden.end(), static_cast<token_id>(id)) ==
        forbidden.end()) {
      return static_cast<std::uint32_t>(id);
    }
  }
  return 0;
}

}  // namespace

struct sampler_scratch {
  explicit sampler_scratch(std::size_t size) : vocab_size(size), processors(size) {}

  std::size_t vocab_size;
  logit_processors processors;
  std::vector<float> block_maxima;
  cut_scratch cut;
};

sampler::sampler(std::size_t vocab_size) : scratch_(std::make_unique<sampler_scratch>(vocab_size)) {
  TROUPE_CHECK(vocab_size > 0);
}
sampler::~sampler() = default;
sampler::sampler(sampler&&) noexcept = default;
sampler& sampler::operator=(sampler&&) noexcept = default;

sampled_token sampler::sample(std::span<const float> logits, const sampling_params& params,
                              const sampling_context& context) {
  TROUPE_CHECK(logits.size() == scratch_->vocab_size);
  const std::span<const float> row = scratch_->processors.apply(logits, params, context);
  fill_block_maxima(row, scratch_->block_maxima);
  const candidate top = largest(row, scratch_->block_maxima);

  std::uint32_t drawn = top.id;
  if (top.logit == no_logit) {
    drawn = first_allowed(row.size(), context.forbidden);
  } else if (params.temperature >= greedy_temperature && std::isfinite(top.logit)) {
    const token_cut cut = find_cut(row, scratch_->block_maxima, top, params, scratch_->cut);
    const token_noise noise(params.seed, context.sequence, context.position);
    drawn = gumbel_draw(row, scratch_->block_maxima, top, cut, params.temperature, noise);
  }
  if (params.logprobs) return score(logits, static_cast<token_id>(drawn), *params.logprobs);
  sampled_token out;
  out.token = static_cast<token_id>(drawn);
  return out;
}

sampled_token sampler::score(std::span<const float> logits, token_id token, std::uint32_t count) {
  TROUPE_CHECK(logits.size() == scratch_->vocab_size);
  sampled_token out;
  out.token = token;
  fill_block_maxima(logits, scratch_->block_maxima);
  fill_logprobs(logits, scratch_->block_maxima, count, out, scratch_->cut);
  return out;
}

}  // namespace troupe
