#include "runtime/simulate/made_prompts.hpp"

#include <algorithm>

namespace troupe::simulate {
namespace {

/// Lengths whose buffers are kept: together at most 32 MiB of token ids.
constexpr std::uint32_t kept_length_max = 4096;

/// SplitMix64's output function (Steele, Lea and Flood, OOPSLA 2014): distinct words for distinct
/// inputs.
constexpr std::uint64_t scattered(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

void fill(std::span<token_id> target, std::uint64_t seed, std::uint64_t stream) {
  constexpr std::uint64_t id_mask = 0x7fffffffu;
  std::uint64_t word = scattered(seed ^ scattered(stream));
  for (token_id& each : target) {
    each = static_cast<token_id>(word >> 20 & id_mask);
    word = word * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX
  }
}

}  // namespace

made_prompts::tokens made_prompts::prompt_of(const virtual_request& request, std::size_t place) {
  if (!distinct_) {
    if (request.prompt_tokens > kept_length_max)
      return std::make_shared<const std::vector<token_id>>(request.prompt_tokens);
    if (by_length_.size() <= request.prompt_tokens) by_length_.resize(request.prompt_tokens + 1u);
    tokens& kept = by_length_[request.prompt_tokens];
    if (!kept) kept = std::make_shared<const std::vector<token_id>>(request.prompt_tokens);
    return kept;
  }
  std::vector<token_id> made(request.prompt_tokens);
  const std::uint32_t shared = request.prefix == virtual_request::no_prefix
                                   ? 0
                                   : std::min(request.prefix_tokens, request.prompt_tokens);
  // Even streams are prefixes, odd ones the rest.
  fill(std::span(made).first(shared), seed_, std::uint64_t{request.prefix} * 2);
  fill(std::span(made).subspan(shared), seed_, std::uint64_t{place} * 2 + 1);
  return std::make_shared<const std::vector<token_id>>(std::move(made));
}

std::shared_ptr<const generation_params> made_prompts::params_of(std::uint32_t output_tokens,
                                                                 std::uint32_t asked_tokens) {
  const bool ends_itself = asked_tokens > output_tokens;
  const std::uint32_t most = ends_itself ? asked_tokens : output_tokens;
  const auto make = [&] {
    generation_params params;
    params.stopping.max_tokens = most;
    params.stopping.ignore_eos = !ends_itself;
    return std::make_shared<const generation_params>(std::move(params));
  };
  if (most > kept_length_max) return make();
  auto& kept_params = ends_itself ? by_asked_ : by_output_;
  if (kept_params.size() <= most) kept_params.resize(most + 1u);
  params_ptr& kept = kept_params[most];
  if (!kept) kept = make();
  return kept;
}

}  // namespace troupe::simulate
