// What happens to running requests in a replay: preemption, release, the beginning and the end of
// their decodes.
#include <algorithm>
#include <functional>
#include <utility>

#include "kernels/base/check.hpp"
#include "runtime/memory/block_table.hpp"
#include "runtime/schedule/compose/batch_replay.hpp"

namespace troupe {

/// As running_rank's: by priority, then by turn.
std::int64_t batch_replay::rank_at(std::uint32_t request, std::uint64_t turn) const {
  constexpr std::int64_t turns = std::int64_t{1} << 32;
  return problem_->priority[request] * turns + static_cast<std::int64_t>(turn);
}

std::uint32_t batch_replay::position_of(std::uint32_t request) const {
  if (phases_[request] == phase::prefill) return computed_[request];
  return known_[request] + static_cast<std::uint32_t>(step_count_ - joined_[request]);
}

std::uint32_t batch_replay::missing_blocks(std::uint32_t request) const {
  return blocks_for(known_[request], limits_->block_tokens) -
         blocks_for(computed_[request] + chunk_rows_[request], limits_->block_tokens);
}

/// In which steps, modulo block_tokens, a decode begins a block.
std::size_t batch_replay::growth_slot(std::uint32_t request) const {
  const std::uint64_t tokens = limits_->block_tokens;
  return static_cast<std::size_t>((joined_[request] + tokens - known_[request] % tokens) % tokens);
}

void batch_replay::preempt_last() {
  TROUPE_CHECK(!running_.empty());
  const std::uint32_t request =
      *std::ranges::max_element(running_, {}, [&](std::uint32_t each) { return rank_[each]; });
  has_preempted_ = true;
  ++made_.preemptions;
  if (phases_[request] == phase::decode) {
    const std::uint32_t position = position_of(request);
    if (has_grown_ && growth_slot(request) == step_count_ % limits_->block_tokens)
      blocks_.give_back(problem_->width[request]);
    end_decode(request);
    release(request);
    known_[request] = position + 1;
  } else {
    drop_from_step(request);
    committed_ -= missing_blocks(request);
    release(request);
    std::erase(prefilling_, request);
  }
  phases_[request] = phase::waiting;
  preempted_.insert(std::ranges::upper_bound(preempted_, rank_[request], {},
                                             [&](std::uint32_t each) { return rank_[each]; }),
                    request);
}

void batch_replay::drop_from_step(std::uint32_t request) {
  const std::uint32_t rows = std::exchange(chunk_rows_[request], 0u);
  if (rows == 0) return;
  const std::uint32_t blocks = blocks_for(computed_[request] + rows, limits_->block_tokens) -
                               blocks_for(computed_[request], limits_->block_tokens);
  blocks_.give_back(blocks);
  committed_ += blocks;
  prefill_rows_ -= rows;
  chunks_ms_ -= chunk_ms(computed_[request], rows);
  std::erase_if(chunks_, [&](const chunk& each) { return each.request == request; });
}

/// Gives back all that a request holds at its position.
void batch_replay::release(std::uint32_t request) {
  const std::uint32_t tokens = limits_->block_tokens, position = position_of(request);
  const std::uint32_t path = problem_->path_blocks(request);
  const bool decodes = phases_[request] == phase::decode;
  // Behind the prompt each sequence has blocks of its own.
  const std::uint32_t forks = decodes ? problem_->width[request] - 1 : 0;
  const std::uint32_t forked =
      forks == 0 ? 0 : blocks_for(position, tokens) - blocks_for(known_[request], tokens);
  const std::uint32_t full = position / tokens;
  const std::uint32_t partial = position % tokens != 0 ? 1 : 0;
  blocks_.release(request, full - std::min(full, path), partial + forks * forked);
  seats_taken_ -= problem_->width[request];
  active_ -= decodes ? problem_->width[request] : 1;
  std::erase(running_, request);
}

void batch_replay::begin_decode(std::uint32_t request) {
  const std::uint32_t width = problem_->width[request];
  const bool was_prefill = phases_[request] == phase::prefill;
  const std::uint32_t produced =
      known_[request] - problem_->prompt_tokens[request] + (was_prefill ? 1 : 0);
  // A running request comes in with its last token drawn and not computed; so does one whose
  // prefill has just drawn it.
  if (!was_prefill) --known_[request];
  phases_[request] = phase::decode;
  joined_[request] = step_count_;
  active_ += width - (was_prefill ? 1 : 0);
  decodes_ += width;
  decode_pairs_ += std::uint64_t{width} * (known_[request] + 1);
  growth_[growth_slot(request)] += width;
  ends_[request] = step_count_ + lengths_[request] - std::min(produced, lengths_[request]);
  endings_.push_back({ends_[request], request});
  std::ranges::push_heap(endings_, std::ranges::greater{});
}

void batch_replay::end_decode(std::uint32_t request) {
  const std::uint32_t width = problem_->width[request];
  growth_[growth_slot(request)] -= width;
  decodes_ -= width;
  decode_pairs_ -= std::uint64_t{width} * (position_of(request) + 1u);
}

void batch_replay::end(std::uint32_t request) {
  release(request);
  phases_[request] = phase::ended;
  --unfinished_;
  const double late_ms = now_ms_ - problem_->due_ms[request];
  lateness_ms_[request] = static_cast<float>(late_ms);
  made_.tardiness_ms += std::max(0.0, late_ms);
}

}  // namespace troupe
