#include "runtime/schedule/compose/batch_replay.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include "config/limits.hpp"
#include "kernels/base/check.hpp"
#include "runtime/memory/block_table.hpp"

namespace troupe {
namespace {

/// Rows that share one unpacking of the weights (kernels/matmul).
constexpr std::uint64_t tile_rows = 16;
/// More than any step may hold.
constexpr double rows_max = 1u << 20;

}  // namespace

batch_replay::batch_replay(const batch_problem& problem)
    : problem_(&problem),
      limits_(&problem.limits),
      blocks_(problem),
      phases_(problem.request_count()),
      rank_(problem.request_count()),
      known_(problem.request_count()),
      computed_(problem.request_count()),
      joined_(problem.request_count()),
      ends_(problem.request_count()),
      lateness_ms_(problem.request_count()),
      chunk_rows_(problem.request_count()),
      growth_(limits_->block_tokens) {}

replay_outcome batch_replay::run(std::span<const std::uint32_t> order, std::uint32_t running_max,
                                 std::uint32_t sample) {
  start(order, running_max, sample);
  return finish();
}

void batch_replay::advance(std::size_t taken) {
  while (unfinished_ != 0 && next_ < taken) step();
}

replay_outcome batch_replay::finish() {
  while (unfinished_ != 0) step();
  made_.makespan_ms = now_ms_;
  made_.recomputed_rows =
      prefill_rows_sum_ - std::min(prefill_rows_sum_, problem_->first_time_rows);
  const async_objective& objective = problem_->objective;
  made_.objective_ms =
      objective.makespan * made_.makespan_ms + objective.tardiness * made_.tardiness_ms +
      objective.recomputed * static_cast<double>(made_.recomputed_rows) * problem_->cost.row_ms;
  if (seats_ < limits_->sequences_max) made_.objective_ms *= 1.0 + problem_->bound_doubt;
  return made_;
}

void batch_replay::start(std::span<const std::uint32_t> order, std::uint32_t running_max,
                         std::uint32_t sample) {
  lengths_ = problem_->lengths_of(sample);
  seats_ = std::min(std::max(running_max, problem_->width_max), limits_->sequences_max);
  unfinished_ = problem_->request_count();
  next_ = 0;
  preempted_.clear();
  running_.clear();
  prefilling_.clear();
  endings_.clear();
  std::ranges::fill(growth_, 0u);
  std::ranges::fill(phases_, phase::waiting);
  std::ranges::fill(chunk_rows_, 0u);
  std::ranges::copy(problem_->known_tokens, known_.begin());
  seats_taken_ = active_ = committed_ = decodes_ = 0;
  decode_pairs_ = step_count_ = prefill_rows_sum_ = 0;
  now_ms_ = 0.0;
  made_ = {};
  blocks_.reset();
  place_running();
  continue_with(order);
}

void batch_replay::continue_with(std::span<const std::uint32_t> order) {
  order_ = order;
  const std::uint32_t before = problem_->request_count() - problem_->waiting_count;
  for (std::size_t i = next_; i < order.size(); ++i)
    rank_[order[i]] = rank_at(order[i], before + i);
}

void batch_replay::place_running() {
  const std::uint32_t tokens = limits_->block_tokens;
  for (std::uint32_t i = problem_->waiting_count; i < problem_->request_count(); ++i) {
    rank_[i] = rank_at(i, i - problem_->waiting_count);
    computed_[i] = problem_->computed_tokens[i];
    const std::uint32_t shared = std::min(problem_->path_blocks(i), computed_[i] / tokens);
    running_.push_back(i);
    seats_taken_ += problem_->width[i];
    blocks_.adopt(i, shared);
    blocks_.take(blocks_for(computed_[i], tokens) - shared);
    if (computed_[i] + 1 == known_[i]) {
      begin_decode(i);
    } else {
      phases_[i] = phase::prefill;
      ++active_;
      committed_ += missing_blocks(i);
      prefilling_.push_back(i);
    }
  }
}

void batch_replay::step() {
  chunks_.clear();
  prefill_rows_ = 0;
  chunks_ms_ = 0.0;
  starts_ = limits_->starts_max;
  has_preempted_ = has_grown_ = false;
  admission_open_ = true;
  grow_decodes();
  continue_prefills();
  admit();
  if (chunks_.empty()) {
    TROUPE_CHECK(decodes_ != 0);  // what the scheduler took can run alone
    decode_on(has_preempted_ ? 1 : quiet_steps());
  } else {
    now_ms_ +=
        problem_->cost.step_ms + tiles_ms(decodes_ + prefill_rows_) + decodes_ms() + chunks_ms_;
    prefill_rows_sum_ += prefill_rows_;
    decode_pairs_ += decodes_;
    ++step_count_;
    complete_chunks();
  }
  finish_due();
}

double batch_replay::tiles_ms(std::uint64_t rows) const {
  return problem_->cost.row_tile_ms * static_cast<double>((rows + tile_rows - 1) / tile_rows);
}

/// One step of all decodes, its fixed part and its tiles apart.
double batch_replay::decodes_ms() const {
  const cost_profile& cost = problem_->cost;
  return (cost.row_ms + cost.logit_row_ms) * decodes_ +
         cost.decode_pair_us * 1e-3 * static_cast<double>(decode_pairs_);
}

/// Blocks for the decodes of this step; the least important are preempted where blocks lack.
void batch_replay::grow_decodes() {
  const std::uint32_t& needed = growth_[step_count_ % limits_->block_tokens];
  while (needed > blocks_.available()) preempt_last();
  blocks_.take(needed);
  has_grown_ = true;
}

void batch_replay::continue_prefills() {
  for (std::size_t i = 0; i < prefilling_.size();) {
    const std::uint32_t request = prefilling_[i];
    const std::uint32_t rows = chunk_for(computed_[request], known_[request] - computed_[request]);
    if (rows == 0) admission_open_ = false;
    if (rows != 0 && make_room(blocks_for(computed_[request] + rows, limits_->block_tokens) -
                                   blocks_for(computed_[request], limits_->block_tokens),
                               request))
      plan_chunk(request, rows);
    if (i < prefilling_.size() && prefilling_[i] == request) ++i;
  }
}

/// Preempts until the blocks are there; false where that took the asking request itself.
bool batch_replay::make_room(std::uint32_t blocks, std::uint32_t request) {
  while (blocks > blocks_.available()) {
    preempt_last();
    if (phases_[request] == phase::waiting) return false;
  }
  return true;
}

void batch_replay::admit() {
  while (admission_open_ && (!preempted_.empty() || next_ < order_.size())) {
    const bool again = !preempted_.empty();
    if (!try_admit(again ? preempted_.front() : order_[next_])) return;
    if (again) {
      preempted_.erase(preempted_.begin());
    } else {
      ++next_;
    }
  }
}

bool batch_replay::try_admit(std::uint32_t request) {
  if (has_preempted_ || starts_ == 0 || seats_taken_ + problem_->width[request] > seats_)
    return false;
  const std::uint32_t tokens = limits_->block_tokens, known = known_[request];
  const auto hit = blocks_.find(request, known);
  const std::uint32_t position = hit.blocks * tokens;
  const std::uint32_t rows = chunk_for(position, known - position);
  const std::uint32_t blocks = blocks_for(known, tokens);
  if (rows == 0 || blocks - hit.referenced + margin() > blocks_.available()) return false;
  --starts_;
  blocks_.adopt(request, hit.blocks);
  phases_[request] = phase::prefill;
  computed_[request] = position;
  seats_taken_ += problem_->width[request];
  ++active_;
  running_.push_back(request);
  committed_ += blocks - hit.blocks;
  prefilling_.insert(std::ranges::upper_bound(prefilling_, rank_[request], {},
                                              [&](std::uint32_t each) { return rank_[each]; }),
                     request);
  plan_chunk(request, rows);
  return true;
}

/// As scheduler_core's: what prefills that have begun still take, and a reserve for growth.
std::uint32_t batch_replay::margin() const {
  return active_ == 0 ? 0
                      : committed_ + std::max(active_, limits_->block_count /
                                                           troupe::limits::growth_reserve_divisor);
}

std::uint32_t batch_replay::chunk_for(std::uint32_t position, std::uint32_t missing) const {
  const std::uint32_t tokens_taken = std::min(decodes_ + prefill_rows_, limits_->step_tokens_max);
  const std::uint32_t fitting = std::min(missing, limits_->step_tokens_max - tokens_taken);
  if (limits_->step_ms_max <= 0.0 || fitting == 0) return fitting;
  const double alone =
      unfinished_ == 1 ? static_cast<double>(troupe::limits::lone_prompt_steps) : 1.0;
  const std::uint32_t least =
      cost_model::prefill_tokens_min - std::min(prefill_rows_, cost_model::prefill_tokens_min);
  if (fitting <= least) return fitting;
  const double ms_max = limits_->step_ms_max * alone;
  if (step_ms_with(position, fitting) <= ms_max) return fitting;
  return std::min(fitting, std::max(least, rows_within(ms_max, position)));
}

/// What the step would take with so many rows of a prompt more.
double batch_replay::step_ms_with(std::uint32_t position, std::uint32_t rows) const {
  return problem_->cost.step_ms + tiles_ms(decodes_ + prefill_rows_ + rows) + decodes_ms() +
         chunks_ms_ + chunk_ms(position, rows);
}

/// A chunk with a row of logits, its tiles apart.
double batch_replay::chunk_ms(std::uint32_t position, std::uint32_t rows) const {
  const cost_profile& cost = problem_->cost;
  const double pairs = static_cast<double>(rows) * (position + (rows + 1.0) / 2.0);
  return cost.row_ms * rows + cost.prefill_pair_us * 1e-3 * pairs + cost.logit_row_ms;
}

/// The most rows from `position` on with which the step takes at most so many milliseconds: cost is
/// quadratic in rows but for its tiles, which are tried from the most that can fit downwards.
std::uint32_t batch_replay::rows_within(double ms, std::uint32_t position) const {
  const cost_profile& cost = problem_->cost;
  const double left = ms - cost.step_ms - cost.logit_row_ms - decodes_ms() - chunks_ms_;
  const double pair_ms = cost.prefill_pair_us * 1e-3;
  const double linear = cost.row_ms + pair_ms * (position + 0.5), half = pair_ms / 2.0;
  // The root of half r^2 + slope r = budget.
  const auto root = [&](double slope, double budget) {
    return budget <= 0.0 ? 0.0
                         : 2.0 * budget / (slope + std::sqrt(slope * slope + 4.0 * half * budget));
  };
  const double beside = decodes_ + prefill_rows_;
  const double per_row = cost.row_tile_ms / tile_rows;
  const double most = root(linear + per_row, left - per_row * beside);
  for (double tiles = std::ceil((beside + most) / tile_rows); tiles * tile_rows > beside; --tiles) {
    const double rows =
        std::min(root(linear, left - cost.row_tile_ms * tiles), tiles * tile_rows - beside);
    if (rows >= 1.0 && rows + beside > (tiles - 1.0) * tile_rows)
      return static_cast<std::uint32_t>(std::min(rows, rows_max));
  }
  return 0;
}

void batch_replay::plan_chunk(std::uint32_t request, std::uint32_t rows) {
  const std::uint32_t first = computed_[request];
  const std::uint32_t blocks =
      blocks_for(first + rows, limits_->block_tokens) - blocks_for(first, limits_->block_tokens);
  blocks_.take(blocks);
  committed_ -= blocks;
  chunks_ms_ += chunk_ms(first, rows);
  prefill_rows_ += rows;
  chunk_rows_[request] = rows;
  chunks_.push_back({request, rows});
}

void batch_replay::complete_chunks() {
  const std::uint32_t tokens = limits_->block_tokens;
  for (const chunk& each : chunks_) {
    const std::uint32_t request = each.request, first = computed_[request];
    computed_[request] += each.rows;
    chunk_rows_[request] = 0;
    blocks_.computed(request, first / tokens, computed_[request] / tokens);
    if (computed_[request] != known_[request]) {
      now_ms_ -= problem_->cost.logit_row_ms;  // planned with one, as the scheduler does
      continue;
    }
    std::erase(prefilling_, request);
    begin_decode(request);
  }
}

void batch_replay::finish_due() {
  while (!endings_.empty() && endings_.front().step <= step_count_) {
    const ending due = endings_.front();
    std::ranges::pop_heap(endings_, std::ranges::greater{});
    endings_.pop_back();
    if (phases_[due.request] != phase::decode || ends_[due.request] != due.step) continue;
    end_decode(due.request);
    end(due.request);
  }
}

/// Blocks that the decodes begin in the steps behind this one, so many less one.
std::uint64_t batch_replay::growth_behind(std::uint64_t steps) const {
  const std::uint64_t tokens = limits_->block_tokens;
  std::uint64_t needed = (steps - 1) / tokens * decodes_;
  for (std::uint64_t i = (steps - 1) % tokens, slot = step_count_ % tokens; i != 0; --i) {
    slot = slot + 1 == tokens ? 0 : slot + 1;
    needed += growth_[slot];
  }
  return needed;
}

/// Steps from this one on in which nothing happens but decodes, for which there are blocks.
std::uint64_t batch_replay::quiet_steps() const {
  std::uint64_t fitting = 1;
  std::uint64_t above = std::max(endings_.front().step, step_count_ + 1) - step_count_ + 1;
  if (growth_behind(above - 1) <= blocks_.available()) return above - 1;
  while (above - fitting > 1) {
    const std::uint64_t middle = fitting + (above - fitting) / 2;
    (growth_behind(middle) <= blocks_.available() ? fitting : above) = middle;
  }
  return fitting;
}

void batch_replay::decode_on(std::uint64_t steps) {
  // grow_decodes() took those of the first step.
  blocks_.take(static_cast<std::uint32_t>(growth_behind(steps)));
  const auto count = static_cast<double>(steps);
  const double later_pairs = static_cast<double>(decodes_) * count * (count - 1.0) / 2.0;
  now_ms_ += count * (problem_->cost.step_ms + tiles_ms(decodes_) + decodes_ms()) +
             problem_->cost.decode_pair_us * 1e-3 * later_pairs;
  decode_pairs_ += decodes_ * steps;
  step_count_ += steps;
}

}  // namespace troupe
