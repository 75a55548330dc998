#include "runtime/observe/sla_tracker.hpp"

#include <algorithm>

#include "runtime/schedule/configured_limits.hpp"

namespace troupe {
namespace {

bool is_within(double ms, double target_ms) {
  return target_ms == 0.0 || ms <= target_ms;
}

}  // namespace

sla_verdict judge_failure(errc code) {
  switch (code) {
    case errc::out_of_memory:
    case errc::overloaded:
    case errc::unavailable:
    case errc::deadline_exceeded:
    case errc::internal: return sla_verdict::missed;
    case errc::invalid_argument:
    case errc::not_found:
    case errc::already_exists:
    case errc::unauthorized:
    case errc::permission_denied:
    case errc::rate_limited:
    case errc::deadline_unmeetable:
    case errc::slow_client:
    case errc::corrupt:
    case errc::unsupported:
    case errc::aborted: return sla_verdict::not_counted;
  }
  return sla_verdict::not_counted;
}

bool promises_something(const lane_config& lane) {
  return lane.ttft_ms != 0 || lane.tpot_ms != 0;
}

sla_verdict judge(const lane_config& promise, const request_facts& facts) {
  if (facts.failure) return judge_failure(*facts.failure);
  const monotonic_time first = facts.first_token.value_or(facts.end);
  const double ttft_ms = to_ms(first - facts.arrival);
  const double tpot_ms =
      facts.longest_output > 1
          ? to_ms(facts.end - first) / static_cast<double>(facts.longest_output - 1)
          : 0.0;
  const bool attains = is_within(ttft_ms, first_token_of(promise).ms_for(facts.prompt_tokens)) &&
                       is_within(tpot_ms, promise.tpot_ms);
  return attains ? sla_verdict::attained : sla_verdict::missed;
}

void sla_tracker::add(lane service, sla_verdict verdict) {
  ++counts_[to_index(service)][static_cast<std::size_t>(verdict)];
}

std::uint64_t sla_tracker::count(lane service, sla_verdict verdict) const {
  return counts_[to_index(service)][static_cast<std::size_t>(verdict)];
}

double sla_tracker::attainment(lane service) const {
  const auto attained = static_cast<double>(count(service, sla_verdict::attained));
  const auto missed = static_cast<double>(count(service, sla_verdict::missed));
  return attained + missed == 0.0 ? 1.0 : attained / (attained + missed);
}

}  // namespace troupe
