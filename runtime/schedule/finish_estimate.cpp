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

/// Of a step that gives a token to every seat, with sequences in the middle of their output.
double decode_ms(const cost_model& cost, const expected_work& work, std::uint32_t seats) {
  const double context = per_sequence(work.prefill_tokens, work.sequences) +
                         per_sequence(work.output_tokens, work.sequences) / 2;
  return cost.predict_ms({.decode_sequences = seats,
                          .decode_pairs = static_cast<std::uint64_t>(seats * (context + 1.0)),
                          .logit_rows = seats});
}

}  // namespace

double expected_finish_ms(const cost_model& cost, const engine_outlook& outlook,
                          const expected_work& own) {
  expected_work all = own;
  double wait_ms = 0.0;
  for (const expected_work& each : outlook.ahead) {
    all += each;
    wait_ms += prefill_ms(cost, each);
  }
  const std::uint32_t seats = std::min(outlook.seqs_max, std::max(all.sequences, 1u));
  const double step_ms = decode_ms(cost, all, seats);

  // Steps until each seat is free.
  std::priority_queue<double, std::vector<double>, std::greater<>> free_at;
  for (std::uint32_t i = 0; i < seats; ++i) free_at.push(0.0);
  // The step in which the last of the request's sequences begins.
  const auto seat = [&](const expected_work& work) {
    double begin = 0.0;
    for (std::uint32_t i = 0; i < std::min(work.sequences, seats); ++i) {
      begin = free_at.top();
      free_at.pop();
      free_at.push(begin + per_sequence(work.output_tokens, work.sequences));
    }
    return begin;
  };
  for (const expected_work& each : outlook.ahead) seat(each);
  wait_ms += seat(own) * step_ms;
  return wait_ms / outlook.share + prefill_ms(cost, own) +
         per_sequence(own.output_tokens, own.sequences) * std::max(step_ms, outlook.step_ms_seen);
}

double engine_ms(const cost_model& cost, const expected_work& own, std::uint32_t seqs_max) {
  return prefill_ms(cost, own) +
         static_cast<double>(own.output_tokens) * decode_ms(cost, own, seqs_max) / seqs_max;
}

}  // namespace troupe
