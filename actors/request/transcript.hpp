// What a request said to its client, in order, so that a client which lost its connection can read
// on.
#pragma once

#include <cstdint>
#include <vector>

#include "actors/gateway/port.hpp"

namespace troupe {

/// Grows with the request's output, which max_model_len, n and logprob_entries_max bound.
struct transcript {
  std::vector<outbound> events;
  std::uint64_t size_bytes = 0;  ///< of their texts, ids and logprobs, about

  void add(const std::vector<outbound>& said);
};

/// The events that a client has not seen, addressed to it: deltas whose last token lies at or after
/// the sequence's offset in `seen` (absent: 0), and the terminal reply. A delta may repeat tokens
/// which the client has; it drops them by (sequence, offset).
std::vector<outbound> replay_events(const transcript& said, const resume& seen,
                                    const client_ref& client);

}  // namespace troupe
