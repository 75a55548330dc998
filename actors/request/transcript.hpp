// What a request said to its client, in order, so that a client which lost its connection can read on.
#pragma once

#include <vector>

#include "actors/gateway/port.hpp"

namespace troupe {

/// Grows with the request's output, which max_model_len and n bound.
struct transcript {
  std::vector<outbound> events;
};

/// The events that a client has not seen, addressed to it: deltas whose last token lies at or after the
/// sequence's offset in `seen` (absent: 0), and the terminal reply. A delta may repeat tokens which the
/// client has; it drops them by (sequence, offset).
std::vector<outbound> replay_events(const transcript& said, const resume& seen, const client_ref& client);

}  // namespace troupe
