#include "runtime/simulate/waiting_watch.hpp"

#include <algorithm>

namespace troupe::simulate {
namespace {

/// A prompt begins with a chunk of this many tokens at least, or whole.
constexpr std::uint32_t chunk_tokens_min = cost_model::prefill_tokens_min;

}  // namespace

waiting_watch::waiting_watch(std::span<const virtual_request> requests, std::uint32_t block_tokens,
                             virtual_result& result)
    : requests_(requests), block_tokens_(block_tokens), result_(result) {}

std::uint32_t waiting_watch::need_of(std::size_t place) const {
  return (requests_[place].prompt_tokens + block_tokens_ - 1) / block_tokens_;
}

void waiting_watch::enqueued(std::size_t place, lane service) {
  arrivals_[to_index(service)].emplace(result_.outcomes[place].submitted, place);
  needs_.emplace(need_of(place), place);
}

bool waiting_watch::erase(std::size_t place, lane service) {
  needs_.erase({need_of(place), place});
  return arrivals_[to_index(service)].erase({result_.outcomes[place].submitted, place}) != 0;
}

void waiting_watch::started(std::size_t place, lane service, monotonic_time now) {
  if (!erase(place, service)) return;
  virtual_outcome& outcome = result_.outcomes[place];
  outcome.started = now;
  const by_arrival& left = arrivals_[to_index(service)];
  if (left.empty()) return;
  monotonic_time& most = result_.overtaken_by_max[to_index(service)];
  most = std::max(most, outcome.submitted - left.begin()->first);
}

void waiting_watch::ended(std::size_t place, lane service) {
  erase(place, service);
  std::erase(held_, place);
}

void waiting_watch::planned(const step_room& room) {
  if (room.seats == 0 || room.starts == 0 || room.first_chunk_tokens == 0) return;
  for (const auto& [need, place] : needs_) {
    if (need > room.blocks) break;
    if (std::min(requests_[place].prompt_tokens, chunk_tokens_min) <= room.first_chunk_tokens)
      held_.push_back(place);
  }
}

void waiting_watch::step_ended(monotonic_time duration) {
  for (const std::size_t place : held_) result_.outcomes[place].held += duration;
  held_.clear();
}

}  // namespace troupe::simulate
