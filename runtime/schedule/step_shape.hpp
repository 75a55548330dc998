// What the duration of a step depends on, in plain numbers: what the cost model is fitted on and
// what the simulator's hardware is asked about.
#pragma once

#include <cstdint>

#include "runtime/schedule/step.hpp"

namespace troupe {

struct step_shape {
  std::uint32_t prefill_tokens = 0;    ///< rows of slices that are longer than one row
  std::uint32_t decode_sequences = 0;  ///< slices of one row
  std::uint64_t prefill_pairs = 0;     ///< (row, key) pairs that attention visits for prefill rows
  std::uint64_t decode_pairs = 0;      ///< the same for decodes: the tokens of their contexts
  std::uint32_t logit_rows = 0;        ///< rows that the LM head computes

  [[nodiscard]] std::uint32_t tokens() const { return prefill_tokens + decode_sequences; }
  bool operator==(const step_shape&) const = default;

  /// `rows` consecutive positions of a sequence, the first at `position_first`; the head computes
  /// `logits` of them.
  void add(std::uint32_t rows, std::uint32_t position_first, std::uint32_t logits) {
    if (rows != 1) return add_prefill(rows, position_first, logits);
    ++decode_sequences;
    decode_pairs += position_first + std::uint64_t{1};
    logit_rows += logits;
  }
  /// The same, as part of a prefill even if it is one row.
  void add_prefill(std::uint32_t rows, std::uint32_t position_first, std::uint32_t logits) {
    // Row i sees position_first + i + 1 keys.
    prefill_pairs += std::uint64_t{rows} * position_first + std::uint64_t{rows} * (rows + 1u) / 2;
    prefill_tokens += rows;
    logit_rows += logits;
  }
};

inline void add_slice(const step_slice& slice, step_shape& to) {
  const auto rows = static_cast<std::uint32_t>(slice.tokens.size());
  const std::uint32_t logits = slice.prompt_logprobs ? rows : slice.sample ? 1u : 0u;
  to.add(rows, slice.position_first, logits);
}

inline step_shape shape_of(const step_plan& plan) {
  step_shape shape;
  for (const step_slice& slice : plan.slices) add_slice(slice, shape);
  return shape;
}

}  // namespace troupe
