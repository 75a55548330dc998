// How long a step beside VIPs may take. What they are promised is a mean time per token: the first
// steps leave a reserve for predictions that were too low and for a processor that was taken away,
// and those of VIPs that are ahead may be longer, because longer steps serve more. Who is behind
// gets shorter ones.
#include <algorithm>

#include "config/limits.hpp"
#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {

double scheduler_core::state::vip_step_ms(monotonic_time now) {
  const double usual_ms = limits.vip_step_ms_max;
  if (limits.vip_token_ms == 0) return usual_ms;
  const double token_ms = limits.vip_token_ms;
  const double reserve_ms = std::max(0.0, token_ms - usual_ms);
  double step_ms = std::max(
      usual_ms, std::min(1.0 * limits.step_ms_max, troupe::limits::vip_step_share_max * token_ms));
  for (std::size_t i = running.first_of(lane::vip); i < running.end_of(lane::vip); ++i) {
    for (sequence_state& sequence : running[i].sequences) {
      if (sequence.finished || sequence.phase != sequence_phase::decode) continue;
      if (!sequence.paced_since) {
        sequence.paced_since = now;
        sequence.paced_from = sequence.output.size();
      }
      const auto made = static_cast<double>(sequence.output.size() - sequence.paced_from);
      const double ahead_ms = token_ms * made - to_ms(now - *sequence.paced_since);
      step_ms = std::min(step_ms, ahead_ms + token_ms - reserve_ms);
    }
  }
  return std::max(step_ms, troupe::limits::vip_step_share_min * usual_ms);
}

}  // namespace troupe
