// When a request would finish if it were taken now: the answer to a deadline, before any work is
// spent on it. A plain function; nothing is kept.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/schedule/cost_model.hpp"

namespace troupe {

/// Work of one or more requests: what has to be prefilled, and what is expected to be decoded.
struct expected_work {
  std::uint64_t prefill_tokens = 0;
  std::uint64_t output_tokens = 0;
  std::uint32_t sequences = 0;

  [[nodiscard]] std::uint64_t tokens() const { return prefill_tokens + output_tokens; }
  expected_work& operator+=(const expected_work& more) {
    prefill_tokens += more.prefill_tokens;
    output_tokens += more.output_tokens;
    sequences += more.sequences;
    return *this;
  }
  expected_work& operator-=(const expected_work& less) {
    prefill_tokens -= less.prefill_tokens;
    output_tokens -= less.output_tokens;
    sequences -= less.sequences;
    return *this;
  }
  bool operator==(const expected_work&) const = default;
};

/// What a request finds when it comes.
struct engine_outlook {
  std::span<const expected_work> ahead;  ///< requests that run or go first, in order
  std::uint32_t seqs_max = 1;            ///< that decode at once
  double step_ms_seen = 0.0;             ///< of late
  double share = 1.0;  ///< of the engine's time, that lanes above leave while it waits; above 0
};

/// Milliseconds until `own` is done. Each request takes the seat that comes free first; a token of
/// every seat takes a step, stretched by the prefills meanwhile. Its own tokens take at least
/// step_ms_seen each: prompts that are yet to come stretch them, too. A mean, not a bound.
double expected_finish_ms(const cost_model& cost, const engine_outlook& outlook,
                          const expected_work& own);

/// Milliseconds that the request takes an engine which decodes seqs_max sequences at once.
double engine_ms(const cost_model& cost, const expected_work& own, std::uint32_t seqs_max);

}  // namespace troupe
