#include "actors/request/transcript.hpp"

namespace troupe {

namespace {

std::uint64_t size_bytes_of(const logprob_entry& entry) {
  return sizeof entry + entry.token.size() + entry.bytes.size();
}

std::uint64_t size_bytes_of(const std::vector<position_logprobs>& positions) {
  std::uint64_t bytes = 0;
  for (const position_logprobs& position : positions) {
    bytes += size_bytes_of(position.chosen);
    for (const logprob_entry& other : position.top) bytes += size_bytes_of(other);
  }
  return bytes;
}

std::uint64_t size_bytes_of(const outbound& event) {
  const auto* part = std::get_if<delta>(&event.body);
  if (part == nullptr) return sizeof event;
  return sizeof event + part->text.size() + part->token_ids.size() * sizeof(std::int64_t) +
         size_bytes_of(part->logprobs) + size_bytes_of(part->prompt_logprobs);
}

}  // namespace

void transcript::add(const std::vector<outbound>& said) {
  for (const outbound& event : said) size_bytes += size_bytes_of(event);
  events.insert(events.end(), said.begin(), said.end());
}

std::vector<outbound> replay_events(const transcript& said, const resume& seen,
                                    const client_ref& client) {
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
