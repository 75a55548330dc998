// Whether requests got what their lane promises. The one definition of it: a request attains when
//   TTFT = first token - arrival              <= ttft_ms x max(1, prompt tokens /
//   ttft_prompt_tokens) TPOT = (end - first token) / (tokens - 1) <= tpot_ms       (tokens of its
//   longest sequence)
// A target of 0 is none; a lane without any promises nothing, and nothing is reported of it. A
// request that the server refused, failed or let run into its deadline is missed. One that its
// client got wrong, cancelled or read too slowly does not count, nor does one above the contract of
// its tenant (refused as rate_limited, or demoted and counted in its new lane), nor one whose own
// deadline was told at once to be unmeetable.
#pragma once

#include <array>
#include <cstdint>

#include "config/config.hpp"
#include "runtime/observe/request_facts.hpp"

namespace troupe {

enum class sla_verdict : std::uint8_t { attained, missed, not_counted };

/// Whether the lane has a target at all.
bool promises_something(const lane_config& lane);
/// ttft_ms, ttft_prompt_tokens and tpot_ms of `promise` are read.
sla_verdict judge(const lane_config& promise, const request_facts& facts);
/// Of a request that ended, or was refused, by an error.
sla_verdict judge_failure(errc code);

class sla_tracker {
 public:
  void add(lane service, sla_verdict verdict);
  [[nodiscard]] std::uint64_t count(lane service, sla_verdict verdict) const;
  /// attained / (attained + missed) since the start; 1 while nothing has counted.
  [[nodiscard]] double attainment(lane service) const;

 private:
  static constexpr std::size_t verdict_count = 3;
  std::array<std::array<std::uint64_t, verdict_count>, lane_count> counts_{};
};

}  // namespace troupe
