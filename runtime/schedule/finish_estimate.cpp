#include "runtime/schedule/finish_estimate.hpp"

#include <algorithm>
#include <functional>
#include <queue>
#include <vector>

namespace troupe {
namespace {

/// Prompts are costed by a chunk in the middle of their length.
constexpr std::uint64_t chunk_tokens = 256;

double prefill_ms(const cost_model& cost, const expected_work& work) {
  if (work.prefill_tokens == 0) return 0.0;
  const auto chunk = static_cast<std::uint32_t>(std::min(chunk_tokens, work.prefill_tokens));
  const auto middle = static_cast<std::uint32_t>((work.prefill_tokens - chunk) / 2);
  step_shape shape;
  shape.add_prefill(chunk, middle, 0);
  return cost.predict_ms(shape) * static_cast<double>(work.prefill_tokens) / chunk;
}

double per_sequence(std::uint64_t tokens, std::uint32_t sequences) {
  return sequences == 0 ? 0.0 : static_cast<double>(tokens) / sequences;
}

}  // namespace

double expected_finish_ms(const cost_model& cost, std::span<const expected_work> ahead,
                          const expected_work& own, std::uint32_t seqs_max, double step_ms_seen) {
  expected_work all = own;
  double all_prefill_ms = 0.0;
  for (const expected_work& each : ahead) {
    all += each;
    all_prefill_ms += prefill_ms(cost, each);
  }
  const std::uint32_t seats = std::min(seqs_max, std::max(all.sequences, 1u));
  // A sequence in the middle of its output.
  const double context = per_sequence(all.prefill_tokens, all.sequences) +
                         per_sequence(all.output_tokens, all.sequences) / 2;
  const double step_ms =
      cost.predict_ms({.decode_sequences = seats,
                       .decode_pairs = static_cast<std::uint64_t>(seats * (context + 1.0)),
                       .logit_rows = seats});

  // Steps until each seat is free.
  std::priority_queue<double, std::vector<double>, std::greater<>> free_at;
  for (std::uint32_t i = 0; i < seats; ++i) free_at.push(0.0);
  const auto seat = [&](const expected_work& work) {
    double end = 0.0;
    for (std::uint32_t i = 0; i < std::min(work.sequences, seats); ++i) {
      end = free_at.top() + per_sequence(work.output_tokens, work.sequences);
      free_at.pop();
      free_at.push(end);
    }
    return end;
  };
  for (const expected_work& each : ahead) seat(each);
  const double own_stretch_ms =
      per_sequence(own.output_tokens, own.sequences) * std::max(0.0, step_ms_seen - step_ms);
  return all_prefill_ms + prefill_ms(cost, own) + seat(own) * step_ms + own_stretch_ms;
}

}  // namespace troupe
