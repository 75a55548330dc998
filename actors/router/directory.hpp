// Every unfinished request of this process by its number and by (tenant, the client's id), and for
// a while the transcripts of finished ones. A plain object; the router actor owns it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <caf/actor.hpp>

#include "actors/base/messages.hpp"

namespace troupe {

class request_directory {
 public:
  struct live_request {
    ticket_ptr ticket;
    client_ref client;               ///< who reads it now
    caf::actor running;              ///< null while it waits
    std::uint32_t resume_count = 0;  ///< resume_stream orders sent to it
    resume last_resume;              ///< what the reader of the last one had seen
  };

  explicit request_directory(monotonic_time keep_transcripts_for)
      : keep_for_(keep_transcripts_for) {}

  /// False when the tenant has a live or remembered request of that id.
  bool add(const ticket_ptr& ticket);
  live_request* find(request_id id);
  live_request* find(const std::string& tenant, const std::string& client_request_id);
  /// Forgets a live request; said (may be null) is remembered until now + keep_transcripts_for.
  void remove(request_id id, std::shared_ptr<const transcript> said, monotonic_time now);
  /// Drops transcripts whose time is over, oldest first.
  void expire(monotonic_time now);
  [[nodiscard]] std::shared_ptr<const transcript> remembered(
      const std::string& tenant, const std::string& client_request_id) const;
  [[nodiscard]] bool has_memories() const { return !expiry_.empty(); }
  std::vector<request_id> requests_of(const client_ref& client) const;
  /// Ascending by number: the order of arrival.
  std::map<request_id, live_request>& live() { return live_; }

 private:
  using client_key = std::pair<std::string, std::string>;
  struct memory {
    client_key key;
    monotonic_time until;
    std::uint64_t size_bytes;
  };
  void forget_oldest();

  monotonic_time keep_for_;
  std::map<request_id, live_request> live_;
  std::map<client_key, request_id> ids_;
  std::map<client_key, std::shared_ptr<const transcript>> transcripts_;
  std::deque<memory> expiry_;  // ascending by `until`, because every memory is kept equally long
  std::uint64_t transcript_bytes_ = 0;  // of all that is remembered
};

}  // namespace troupe
