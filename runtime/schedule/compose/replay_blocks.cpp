#include "runtime/schedule/compose/replay_blocks.hpp"

#include <algorithm>

#include "kernels/base/check.hpp"

namespace troupe {

replay_blocks::replay_blocks(const batch_problem& problem)
    : problem_(&problem),
      node_count_(static_cast<std::uint32_t>(problem.tree.nodes().size())),
      resident_(node_count_ + problem.request_count()),
      references_(resident_.size()),
      stamps_(resident_.size()),
      entered_(problem.request_count()) {
  released_.reserve(4 * resident_.size());
}

/// Nothing is known of when cached blocks were released: those of deeper nodes count as older.
void replay_blocks::reset() {
  std::ranges::copy(problem_->cached_blocks, resident_.begin());
  std::ranges::copy(problem_->cached_private, resident_.begin() + node_count_);
  std::ranges::fill(references_, 0u);
  std::ranges::fill(stamps_, 0u);
  std::ranges::fill(entered_, 0u);
  released_.clear();
  released_first_ = 0;
  free_ = problem_->limits.block_count;
  cached_ = 0;
  for (std::uint32_t& each : resident_) {
    each = std::min(each, free_);
    free_ -= each;
    cached_ += each;
  }
  for (std::size_t i = resident_.size(); i-- != 0;) {
    if (resident_[i] != 0) released_.push_back({static_cast<std::uint32_t>(i), 0});
  }
}

replay_blocks::hit replay_blocks::find(std::uint32_t request, std::uint32_t known_tokens) const {
  hit found;
  if (!problem_->limits.enable_prefix_caching) return found;
  const auto count = [&](std::uint32_t run, std::uint32_t blocks) {
    found.blocks += blocks;
    if (references_[run] != 0) found.referenced += blocks;
  };
  for (const std::uint32_t node : problem_->tree.path_of(request)) {
    count(node, resident_[node]);
    if (resident_[node] != problem_->tree.nodes()[node].blocks()) return found;
  }
  const std::uint32_t most = (known_tokens - 1) / problem_->limits.block_tokens - found.blocks;
  count(private_run(request), std::min(resident_[private_run(request)], most));
  return found;
}

void replay_blocks::adopt(std::uint32_t request, std::uint32_t hit_blocks) {
  for (const std::uint32_t node : problem_->tree.path_of(request)) {
    if (problem_->tree.nodes()[node].block_first >= hit_blocks) break;
    ++entered_[request];
    hold(node);
  }
  // What a preemption left becomes the request's own again; what of it lies behind the hit is lost.
  const std::uint32_t run = private_run(request);
  if (resident_[run] == 0) return;
  const std::uint32_t path_blocks = problem_->path_blocks(request);
  const std::uint32_t kept = hit_blocks - std::min(hit_blocks, path_blocks);
  ++stamps_[run];
  cached_ -= resident_[run];
  free_ += resident_[run] - kept;
  resident_[run] = 0;
}

void replay_blocks::hold(std::uint32_t run) {
  if (references_[run]++ != 0) return;
  ++stamps_[run];
  cached_ -= resident_[run];
}

void replay_blocks::let_go(std::uint32_t run) {
  if (--references_[run] != 0 || resident_[run] == 0) return;
  cached_ += resident_[run];
  released_.push_back({run, ++stamps_[run]});
}

void replay_blocks::take(std::uint32_t blocks) {
  if (blocks > free_) evict(blocks - free_);
  free_ -= blocks;
}

void replay_blocks::evict(std::uint32_t blocks) {
  while (blocks != 0) {
    TROUPE_CHECK(released_first_ < released_.size());  // callers take at most available()
    const released_run& oldest = released_[released_first_];
    const bool is_cached = oldest.stamp == stamps_[oldest.run];
    const std::uint32_t taken = is_cached ? std::min(blocks, resident_[oldest.run]) : 0;
    blocks -= taken;
    free_ += taken;
    cached_ -= taken;
    resident_[oldest.run] -= taken;
    if (!is_cached || resident_[oldest.run] == 0) ++released_first_;
  }
}

void replay_blocks::computed(std::uint32_t request, std::uint32_t first, std::uint32_t end) {
  const auto path = problem_->tree.path_of(request);
  std::uint32_t& entered = entered_[request];
  for (std::uint32_t i = entered == 0 ? 0 : entered - 1; i < path.size(); ++i) {
    const prefix_node& node = problem_->tree.nodes()[path[i]];
    const std::uint32_t low = std::max(first, node.block_first);
    const std::uint32_t high = std::min(end, node.block_end);
    if (low >= high) {
      if (node.block_first >= end) return;
      continue;
    }
    if (i >= entered) {
      ++entered;
      hold(path[i]);
    }
    const std::uint32_t resident_end = node.block_first + resident_[path[i]];
    free_ += std::min(high, std::max(low, resident_end)) - low;
    resident_[path[i]] = std::max(resident_end, high) - node.block_first;
  }
}

void replay_blocks::release(std::uint32_t request, std::uint32_t full_private,
                            std::uint32_t other) {
  free_ += other;
  const std::uint32_t run = private_run(request);
  if (problem_->limits.enable_prefix_caching && full_private != 0) {
    resident_[run] = full_private;
    cached_ += full_private;
    released_.push_back({run, ++stamps_[run]});
  } else {
    free_ += full_private;
  }
  const auto path = problem_->tree.path_of(request);
  for (std::uint32_t i = entered_[request]; i-- != 0;) let_go(path[i]);
  entered_[request] = 0;
}

}  // namespace troupe
