// How long a step takes on some hardware, as two linear costs of its shape: what arithmetic takes
// and what moving memory takes overlap, so that the longer one counts; what the host and the links
// add does not. Plain data, cheap to copy and to ask.
#pragma once

#include <algorithm>

#include "runtime/schedule/cost_model.hpp"
#include "runtime/schedule/step_shape.hpp"

namespace troupe::simulate {

/// Milliseconds for each unit of a shape.
struct linear_cost {
  double step = 0.0;  ///< whatever is in it
  double prefill_token = 0.0;
  double decode_sequence = 0.0;
  double prefill_pair = 0.0;
  double decode_pair = 0.0;
  double logit_row = 0.0;
  double row_tile =
      0.0;  ///< for each 16 rows begun: what kernels that unpack weights once a tile pay

  static constexpr std::uint32_t tile_rows = 16;

  [[nodiscard]] double ms(const step_shape& shape) const {
    return step + prefill_token * shape.prefill_tokens + decode_sequence * shape.decode_sequences +
           prefill_pair * static_cast<double>(shape.prefill_pairs) +
           decode_pair * static_cast<double>(shape.decode_pairs) + logit_row * shape.logit_rows +
           row_tile * ((shape.tokens() + tile_rows - 1) / tile_rows);
  }
};

struct step_time {
  double total_ms = 0.0;
  double overhead_ms = 0.0;  ///< the part of it in which the device neither computes nor loads
  double step_ms = 0.0;      ///< the part of it that the scheduler sees as the step's duration
};

struct step_cost {
  linear_cost compute, memory, overhead;
  double between_ms = 0.0;  ///< from a step's end to the next one's start
  /// Deviation of the logarithm of a step's duration around its mean: other work on the machine.
  double noise = 0.0;
  std::uint32_t noise_seed = 0;  ///< other luck for the same load

  /// `luck`: what the step takes over the mean of its like.
  [[nodiscard]] step_time time(const step_shape& shape, double luck = 1.0) const {
    const double outside = overhead.ms(shape);
    const double step_ms = (outside + std::max(compute.ms(shape), memory.ms(shape))) * luck;
    return {step_ms + between_ms, outside + between_ms, step_ms};
  }
};

/// What the scheduler's own model has learned from a machine's steps.
step_cost measured_cost(const cost_profile& profile);

/// Speculative decoding: a draft proposes `candidates` tokens, the model checks them in one step.
struct speculation {
  std::uint32_t candidates = 0;  ///< 0: off
  double acceptance = 0.0;   ///< probability that a proposed token is the model's own, in [0, 1)
  double draft_share = 0.0;  ///< cost of a draft's step in steps of the model
  /// Expected tokens of one round: 1 + a + ... + a^candidates.
  /// Source: Leviathan, Kalman, Matias, "Fast inference from transformers via speculative
  /// decoding", ICML 2023, equation 1.
  [[nodiscard]] double tokens_per_round() const;
};

/// The cost of a step that yields one token for each decode, where rounds yield several: a round's
/// cost divided by its tokens. Right in the mean, without the spread of luck between sequences.
step_cost with_speculation(const step_cost& plain, const speculation& how);

}  // namespace troupe::simulate
