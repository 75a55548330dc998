#include "actors/router/directory.hpp"

#include "config/limits.hpp"

namespace troupe {

bool request_directory::add(const ticket_ptr& ticket) {
  const client_key key{ticket->tenant, ticket->client_request_id};
  if (transcripts_.contains(key) || !ids_.emplace(key, ticket->id).second) return false;
  live_.emplace(ticket->id, live_request{ticket, ticket->client, {}, 0, {}});
  return true;
}

request_directory::live_request* request_directory::find(request_id id) {
  const auto found = live_.find(id);
  return found == live_.end() ? nullptr : &found->second;
}

request_directory::live_request* request_directory::find(const std::string& tenant,
                                                         const std::string& client_request_id) {
  const auto found = ids_.find({tenant, client_request_id});
  return found == ids_.end() ? nullptr : find(found->second);
}

void request_directory::remove(request_id id, std::shared_ptr<const transcript> said,
                               monotonic_time now) {
  const auto found = live_.find(id);
  if (found == live_.end()) return;
  client_key key{found->second.ticket->tenant, found->second.ticket->client_request_id};
  ids_.erase(key);
  live_.erase(found);
  if (said == nullptr) return;
  transcript_bytes_ += said->size_bytes;
  expiry_.push_back({key, now + keep_for_, said->size_bytes});
  transcripts_[std::move(key)] = std::move(said);
  while (expiry_.size() > limits::terminal_replies_max ||
         transcript_bytes_ > limits::terminal_replies_bytes_max)
    forget_oldest();
}

void request_directory::forget_oldest() {
  transcript_bytes_ -= expiry_.front().size_bytes;
  transcripts_.erase(expiry_.front().key);
  expiry_.pop_front();
}

void request_directory::expire(monotonic_time now) {
  while (!expiry_.empty() && expiry_.front().until <= now) forget_oldest();
}

std::shared_ptr<const transcript> request_directory::remembered(
    const std::string& tenant, const std::string& client_request_id) const {
  const auto found = transcripts_.find({tenant, client_request_id});
  return found == transcripts_.end() ? nullptr : found->second;
}

std::vector<request_id> request_directory::requests_of(const client_ref& client) const {
  std::vector<request_id> found;
  for (const auto& [id, request] : live_) {
    if (request.client == client) found.push_back(id);
  }
  return found;
}

}  // namespace troupe
