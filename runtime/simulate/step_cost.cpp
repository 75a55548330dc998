#include "runtime/simulate/step_cost.hpp"

namespace troupe::simulate {
namespace {

/// `checked_rows`: what a decode's rows cost more in the round. Keys are read once for all of them.
linear_cost per_token(const linear_cost& plain, const speculation& how, double checked_rows,
                      double checked_pairs) {
  const double tokens = how.tokens_per_round();
  const double drafts = how.candidates * how.draft_share;
  linear_cost cost = plain;
  cost.step *= (1.0 + drafts) / tokens;
  cost.decode_sequence *= (checked_rows + drafts) / tokens;
  cost.decode_pair *= (checked_pairs + drafts) / tokens;
  cost.logit_row *= (checked_rows + drafts) / tokens;
  cost.row_tile *= (checked_rows + drafts) / tokens;
  return cost;
}

}  // namespace

step_cost measured_cost(const cost_profile& profile) {
  constexpr double us_per_ms = 1e3;
  step_cost cost;
  cost.compute = {.step = profile.step_ms,
                  .prefill_token = profile.row_ms,
                  .decode_sequence = profile.row_ms,
                  .prefill_pair = profile.prefill_pair_us / us_per_ms,
                  .decode_pair = profile.decode_pair_us / us_per_ms,
                  .logit_row = profile.logit_row_ms,
                  .row_tile = profile.row_tile_ms};
  return cost;
}

double speculation::tokens_per_round() const {
  double tokens = 0.0, chance = 1.0;
  for (std::uint32_t i = 0; i <= candidates; ++i, chance *= acceptance) tokens += chance;
  return tokens;
}

step_cost with_speculation(const step_cost& plain, const speculation& how) {
  if (how.candidates == 0) return plain;
  const double rows = how.candidates + 1.0;
  return {per_token(plain.compute, how, rows, rows),
          per_token(plain.memory, how, rows, 1.0),
          per_token(plain.overhead, how, rows, 1.0),
          plain.between_ms / how.tokens_per_round(),
          plain.noise,
          plain.noise_seed};
}

}  // namespace troupe::simulate
