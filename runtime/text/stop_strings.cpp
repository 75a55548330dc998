#include "runtime/text/stop_strings.hpp"

#include <algorithm>
#include <deque>

#include <fmt/format.h>

#include "config/limits.hpp"

namespace troupe {

result<stop_strings> stop_strings::create(const std::vector<std::string>& stops,
                                          bool include_stop) {
  if (stops.size() > limits::stop_string_count_max) {
    return error{errc::invalid_argument,
                 fmt::format("{} stop strings were given; at most {} are allowed", stops.size(),
                             limits::stop_string_count_max)};
  }
  stop_strings matcher(include_stop);
  for (std::size_t i = 0; i < stops.size(); ++i) {
    if (stops[i].empty()) {
      return error{errc::invalid_argument, fmt::format("stop string {} is empty", i)};
    }
    if (stops[i].size() > limits::stop_string_bytes_max) {
      return error{errc::invalid_argument,
                   fmt::format("stop string {} has {} bytes; at most {} are allowed", i,
                               stops[i].size(), limits::stop_string_bytes_max)};
    }
    matcher.lengths_.push_back(stops[i].size());
    matcher.insert(stops[i], i);
  }
  matcher.link_fallbacks();
  return matcher;
}

std::uint32_t stop_strings::child(std::uint32_t from, unsigned char byte) const noexcept {
  const auto& next = nodes_[from].next;
  const auto found =
      std::lower_bound(next.begin(), next.end(), byte,
                       [](const auto& edge, unsigned char b) { return edge.first < b; });
  return found == next.end() || found->first != byte ? 0 : found->second;
}

void stop_strings::insert(std::string_view stop, std::size_t index) {
  std::uint32_t at = 0;
  for (const char c : stop) {
    const auto byte = static_cast<unsigned char>(c);
    std::uint32_t to = child(at, byte);
    if (to == 0) {
      to = static_cast<std::uint32_t>(nodes_.size());
      auto& next = nodes_[at].next;
      const auto place = std::find_if(next.begin(), next.end(),
                                      [&](const auto& edge) { return edge.first > byte; });
      next.insert(place, {byte, to});
      nodes_.emplace_back();
      nodes_.back().depth_bytes = nodes_[at].depth_bytes + 1;
    }
    at = to;
  }
  if (!nodes_[at].stop) nodes_[at].stop = index;
}

void stop_strings::link_fallbacks() {
  std::deque<std::uint32_t> waiting = {0};
  while (!waiting.empty()) {
    const std::uint32_t at = waiting.front();
    waiting.pop_front();
    for (const auto& [byte, to] : nodes_[at].next) {
      nodes_[to].fallback = at == 0 ? 0 : advance(nodes_[at].fallback, byte);
      if (!nodes_[to].stop) nodes_[to].stop = nodes_[nodes_[to].fallback].stop;
      waiting.push_back(to);
    }
  }
}

std::uint32_t stop_strings::advance(std::uint32_t from, unsigned char byte) const noexcept {
  while (true) {
    const std::uint32_t to = child(from, byte);
    if (to != 0 || from == 0) return to;
    from = nodes_[from].fallback;
  }
}

stop_strings::step stop_strings::push(std::string_view text) {
  if (stopped_) return {};
  std::string pending = std::exchange(held_, {});
  const std::size_t old_bytes = pending.size();
  pending += text;
  for (std::size_t i = old_bytes; i < pending.size(); ++i) {
    at_ = advance(at_, static_cast<unsigned char>(pending[i]));
    if (const auto stop = nodes_[at_].stop) {
      stopped_ = true;
      pending.resize(include_stop_ ? i + 1 : i + 1 - lengths_[*stop]);
      return {std::move(pending), stop};
    }
  }
  held_ = std::move(pending);
  return {release(), std::nullopt};
}

std::string stop_strings::pass(std::string_view text) {
  if (stopped_) return {};
  held_ += text;
  for (const char c : text) at_ = advance(at_, static_cast<unsigned char>(c));
  return release();
}

/// All but what may be the beginning of a stop string.
std::string stop_strings::release() {
  const std::size_t safe_bytes = held_.size() - nodes_[at_].depth_bytes;
  std::string safe = held_.substr(0, safe_bytes);
  held_.erase(0, safe_bytes);
  return safe;
}

std::string stop_strings::finish() {
  at_ = 0;
  return std::exchange(held_, {});
}

}  // namespace troupe
