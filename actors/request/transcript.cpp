#include "actors/request/transcript.hpp"

namespace troupe {

std::vector<outbound> replay_events(const transcript& said, const resume& seen, const client_ref& client) {
  std::vector<outbound> again;
  for (const outbound& event : said.events) {
    if (const auto* part = std::get_if<delta>(&event.body)) {
      const std::size_t sequence = event.header.sequence;
      const std::uint64_t offset = sequence < seen.offsets.size() ? seen.offsets[sequence] : 0;
      const bool closes = part->finish_reason.has_value();
      if (event.header.offset + part->token_ids.size() <= offset && !closes) continue;
    }
    again.push_back({client, event.header, event.body});
  }
  return again;
}

}  // namespace troupe
