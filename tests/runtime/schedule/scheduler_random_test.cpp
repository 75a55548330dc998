// Proves that any mix of lanes, n, cancels, stops, preemptions, chunk sizes, prefix reuse and
// resumed requests gives every request exactly the tokens it would get alone, exactly once; that
// the KV which a step reads is always the right one; and that no block is lost. Integrity is
// checked after every call. Also with a lower tier: evicted blocks leave with the right contents,
// and what comes back is read as if it had been computed.
#include <algorithm>
#include <memory>
#include <random>

#include "tests/runtime/schedule/fake_engine.hpp"
#include "tests/runtime/schedule/fake_lower_tier.hpp"

using namespace troupe;
using namespace troupe::test;

namespace {

struct round_totals {
  std::uint64_t operations = 0, steps = 0, finished = 0, cancelled = 0, preemptions = 0,
                resumed = 0, hit_tokens = 0, copies = 0, refused = 0, offloaded = 0, uploaded = 0,
                offers = 0, composed = 0, questions = 0, swapped = 0, kept = 0, dropped = 0;
};

class random_round {
 public:
  random_round(unsigned seed, round_totals& totals, bool offload = false,
               std::uint32_t tenant_count = 1)
      : random_(seed),
        totals_(totals),
        tenant_count_(tenant_count),
        limits_(draw_limits(offload)),
        core_(limits_),
        engine_(limits_) {
    // As predicted, or not.
    const double factor = std::array{0.0, 0.1, 1.0, 10.0}[below(4)];
    engine_.block_move_ms = factor * limits_.initial_transfer.upload_block_ms;
  }

  void run() {
    for (int i = 0; i < 160; ++i) {
      for (auto count = below(4) == 0 ? below(4) : 0; count != 0; --count) submit();
      step();
    }
    // Everything ends: the bound is generous, for one token a step of everything submitted.
    std::size_t steps_max = 1000;
    for (const auto& [id, each] : truth_) {
      for (const auto& sequence : each.sequences) steps_max += 3 * sequence.naive.paths.size();
    }
    quiet_ = true;
    while (core_.has_work()) {
      REQUIRE(steps_max-- != 0);
      step();
    }
    for (const auto& [id, each] : truth_) {
      REQUIRE(each.is_done());
      if (!each.cancelled) ++totals_.finished;
      if (each.request.params->sampling.prompt_logprobs && each.request.resumed.empty() &&
          !each.cancelled && !each.sequences[0].stopped) {
        REQUIRE(each.prompt_rows + 1 == each.request.prompt->size());
      }
    }
    const auto counts = core_.counts();
    REQUIRE(counts.blocks_referenced == 0);
    REQUIRE(counts.blocks_free + counts.blocks_cached == counts.blocks_total);
    REQUIRE(counts.running_sequences == 0);
    totals_.preemptions += counts.preemptions;
    totals_.hit_tokens += counts.prefix_hit_tokens;
    totals_.offloaded += counts.offloaded_blocks;
    totals_.uploaded += counts.uploaded_blocks;
    totals_.dropped += counts.dropped_blocks;
    const auto came_back = [&](preemption_kind kind) {
      return counts.preemptions_by_kind[static_cast<std::size_t>(kind)];
    };
    totals_.swapped += came_back(preemption_kind::swapped);
    totals_.kept += came_back(preemption_kind::kept);
    REQUIRE(counts.offered_blocks == 0);
  }

 private:
  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }

  scheduler_limits draw_limits(bool offload) {
    scheduler_limits limits;
    limits.block_tokens = std::array{1u, 3u, 4u, 8u, 16u}[below(5)];
    limits.max_model_len = 24 + below(60);
    limits.max_num_seqs = 1 + below(12);
    limits.enable_chunked_prefill = below(3) != 0;
    limits.enable_prefix_caching = below(3) != 0;
    limits.max_num_batched_tokens = limits.max_num_seqs + below(40);
    if (!limits.enable_chunked_prefill) {
      limits.max_num_batched_tokens =
          std::max(limits.max_num_seqs, limits.max_model_len) + below(40);
    }
    if (below(2) == 0) limits.step_ms_max = 1 + below(12);
    limits.vip_step_ms_max = limits.step_ms_max / 2;
    limits.max_batch_size = 1 + below(6);
    limits.max_num_queued_reqs = 5 + below(30);
    const std::uint32_t longest = limits.max_model_len / limits.block_tokens + 1;
    limits.block_count = std::max(2u, longest / 2) + below(longest * 5);
    limits.model_fingerprint = random_();
    limits.end_of_generation = {token_id{0}, token_id{7}};
    for (lane_rules& rules : limits.lanes) {
      rules.reserved_fraction = 0.1 * below(4);
      if (below(2) == 0) rules.cost_window = monotonic_time(1 + below(20));
      if (below(2) == 0) rules.hold_max = std::chrono::milliseconds(below(2'000));
    }
    if (below(2) == 0) limits.step_ms_max = 2 + below(20);
    limits.vip_step_ms_max = limits.step_ms_max / 2;
    limits.first_part_tokens_min = below(40);
    limits.second_part_rows_min = 1 + below(4);
    if (!offload) return limits;
    limits.enable_offload = true;
    limits.enable_prefix_caching = below(8) != 0;
    limits.max_uploads_per_step = 1 + below(12);
    const double block_ms = std::array{1e-6, 1e-3, 0.1, 1e3}[below(4)];
    limits.initial_transfer = {.offload_block_ms = block_ms, .upload_block_ms = block_ms};
    limits.block_count = std::max(2u, longest / 2) + below(longest * 2);
    return limits;
  }

  std::vector<token_id> draw_prompt() {
    std::vector<token_id> prompt;
    if (!conversations_.empty() && below(2) == 0)
      prompt = conversations_[below(static_cast<std::uint32_t>(conversations_.size()))];
    if (prompt.size() > limits_.max_model_len / 2) prompt.resize(limits_.max_model_len / 2);
    if (!prompt.empty() && below(3) == 0)
      prompt.resize(1 + below(static_cast<std::uint32_t>(prompt.size())));
    for (auto count = 1 + below(limits_.max_model_len / 2); count != 0; --count) {
      prompt.push_back(static_cast<token_id>(below(fake_vocab_size)));
    }
    if (prompt.size() > limits_.max_model_len - 1) prompt.resize(limits_.max_model_len - 1);
    return prompt;
  }

  schedule_request draw_request() {
    schedule_request request;
    request.id = static_cast<request_id>(next_id_++);
    request.service = all_lanes[below(3)];
    request.priority = static_cast<std::int32_t>(below(3)) - 1;
    request.tenant_salt = below(4) == 0 ? 1 : 0;
    if (tenant_count_ != 1) request.tenant_index = below(tenant_count_);
    request.tenant_share = 0.5 + request.tenant_index;
    request.prompt = std::make_shared<const std::vector<token_id>>(draw_prompt());
    generation_params params;
    params.n = below(3) == 0 ? 1 + below(4) : 1;
    params.stopping.max_tokens = below(6) == 0 ? 0 : 1 + below(30);
    params.stopping.min_tokens = below(4) == 0 ? below(8) : 0;
    params.stopping.ignore_eos = below(4) == 0;
    if (below(3) == 0) params.stopping.stop_token_ids = {token_id{11}, token_id{12}};
    if (below(5) == 0) params.sampling.prompt_logprobs = 2;
    if (below(3) == 0) params.sampling.repetition_penalty = 1.1f;
    request.params = std::make_shared<const generation_params>(params);
    request.arrival = now_ - std::chrono::nanoseconds(below(3));
    if (below(4) == 0) request.deadline = now_ + std::chrono::nanoseconds(below(100));
    if (below(6) == 0) draw_progress(request);
    return request;
  }

  // As if another replica had emitted some tokens of each sequence.
  void draw_progress(schedule_request& request) {
    bool any_unfinished = false;
    for (std::uint32_t i = 0; i < request.params->n; ++i) {
      const auto naive = generate_alone(request, i, limits_);
      const auto count = below(static_cast<std::uint32_t>(naive.tokens.size()) + 1);
      schedule_request::progress each;
      each.output.assign(naive.tokens.begin(), naive.tokens.begin() + count);
      each.finished = count == naive.tokens.size();
      any_unfinished = any_unfinished || !each.finished;
      request.resumed.push_back(std::move(each));
    }
    if (!any_unfinished) request.resumed.clear();
  }

  void submit() {
    const schedule_request request = draw_request();
    const auto before = core_.counts();
    const auto waiting = before.waiting[0] + before.waiting[1] + before.waiting[2];
    const std::uint32_t max_tokens = request.params->stopping.max_tokens;
    const std::uint64_t tokens =
        std::min<std::uint64_t>(request.prompt->size() + max_tokens, limits_.max_model_len) -
        (max_tokens == 0 ? 0 : 1);
    const bool fits =
        (tokens + limits_.block_tokens - 1) / limits_.block_tokens <= limits_.block_count &&
        request.params->n <= limits_.max_num_seqs;
    const bool is_full = waiting >= limits_.max_num_queued_reqs;
    const auto taken = core_.enqueue(request, now_);
    ++totals_.operations;
    REQUIRE(taken.has_value() == (fits && !is_full));
    core_.check_integrity();
    if (!taken) {
      REQUIRE(taken.failure().code == (is_full ? errc::overloaded : errc::invalid_argument));
      ++totals_.refused;
      return;
    }
    REQUIRE(core_.enqueue(request, now_).failure().code == errc::already_exists);
    if (!request.resumed.empty()) ++totals_.resumed;
    truth_.emplace(request.id, expect(request, limits_));
    if (below(3) != 0) offer({request.id, 0});
  }

  // A waiting or preempted request may take what the tier has; nobody else does.
  void offer(sequence_id id) { answer(id, find(id)); }

  std::vector<offered_block> find(sequence_id id) {
    const bool has_holes = below(4) == 0;
    return tier_.find(core_.block_keys_of(id),
                      [&](std::uint32_t) { return !has_holes || below(4) != 0; });
  }

  void answer(sequence_id id, std::vector<offered_block> blocks) {
    const bool is_known = truth_.contains(id.request) && !truth_.at(id.request).is_done();
    ++totals_.operations;
    const bool is_empty = blocks.empty();
    if (core_.offer_blocks(id, std::move(blocks))) {
      REQUIRE((is_known && !is_empty && limits_.enable_offload && limits_.enable_prefix_caching));
      ++totals_.offers;
    }
    core_.check_integrity();
    REQUIRE(core_.counts().offered_blocks <= limits_.block_count);
  }

  // Preempted sequences want their blocks: some are answered at once, some later, some never.
  void ask(const std::vector<sequence_id>& wanted) {
    REQUIRE(wanted.size() <= troupe::limits::kv_returns_max);
    REQUIRE((wanted.empty() || limits_.enable_offload));
    for (const sequence_id id : wanted) {
      ++totals_.questions;
      if (below(8) != 0) questions_.push_back({id, find(id)});
    }
    std::shuffle(questions_.begin(), questions_.end(), random_);
    while (!questions_.empty() && below(3) != 0) {
      answer(questions_.back().first, std::move(questions_.back().second));
      questions_.pop_back();
    }
  }

  void disturb() {
    ++totals_.operations;
    if (truth_.empty()) return;
    auto& [id, expected] =
        *std::next(truth_.begin(), below(static_cast<std::uint32_t>(truth_.size())));
    const auto index = below(static_cast<std::uint32_t>(expected.sequences.size()) + 1);
    if (limits_.enable_offload && below(2) == 0) return offer({id, index});
    if (below(2) == 0) {
      const bool was_done = expected.is_done();
      REQUIRE(core_.cancel(id) == !was_done);
      if (!was_done) ++totals_.cancelled;
      if (!was_done) expected.cancelled = true;
    } else {
      const bool may_stop = index < expected.sequences.size() && !expected.cancelled &&
                            !expected.sequences[index].finished &&
                            !expected.sequences[index].stopped;
      REQUIRE(core_.stop_sequence({id, index}) == may_stop);
      if (may_stop) expected.sequences[index].stopped = true;
    }
    core_.check_integrity();
  }

  // As a composer would, with any order, some of it out of date.
  void compose() {
    const auto view = core_.async_view(now_);
    if (!view) return;
    ++totals_.composed;
    async_plan plan;
    for (const async_waiting& each : view->waiting) {
      REQUIRE(truth_.contains(each.id));
      plan.order.push_back(each.id);
    }
    if (!truth_.empty() && below(3) == 0) plan.order.push_back(truth_.begin()->first);
    std::shuffle(plan.order.begin(), plan.order.end(), random_);
    plan.running_max = below(limits_.max_num_seqs + 1);
    if (below(2) == 0) disturb();
    core_.apply(plan, now_);
    core_.check_integrity();
  }

  void step() {
    if (below(4) == 0) compose();
    now_ += std::chrono::nanoseconds(1 + below(3));
    if (below(16) == 0) now_ += std::chrono::milliseconds(below(4'000));
    if (!quiet_ && below(6) == 0) disturb();
    const bool had_work = core_.has_work();
    auto planned = core_.plan(now_);
    ++totals_.operations;
    core_.check_integrity();
    REQUIRE(planned.started.size() <= limits_.max_batch_size);
    for (const auto& started : planned.started) {
      auto& expected = truth_.at(started.id);
      REQUIRE(!expected.started);
      expected.started = true;
      REQUIRE(started.queued == now_ - expected.request.arrival);
      REQUIRE(started.cached_tokens <= expected.request.prompt->size());
    }
    // The most important request always gets on.
    REQUIRE(planned.plan.slices.empty() == !had_work);
    REQUIRE(core_.has_step_in_flight() == had_work);
    if (!had_work) return;
    ++totals_.steps;
    totals_.copies += planned.plan.copies.size();
    ask(planned.wanted);
    const auto result = engine_.run(planned.plan, truth_);
    tier_.take(result);
    while (!quiet_ && below(5) == 0) disturb();
    if (!quiet_ && below(5) == 0) submit();
    const auto outcome = core_.complete(result, now_);
    ++totals_.operations;
    core_.check_integrity();
    receive(outcome, truth_);
    for (const auto& update : outcome.updates) {
      if (!update.finished || conversations_.size() > 40) continue;
      const auto& expected = truth_.at(update.sequence.request);
      auto tokens = *expected.request.prompt;
      const auto& output = expected.sequences[update.sequence.index].naive.tokens;
      tokens.insert(tokens.end(), output.begin(), output.end());
      conversations_.push_back(std::move(tokens));
    }
  }

  std::mt19937 random_;
  round_totals& totals_;
  const std::uint32_t tenant_count_;
  scheduler_limits limits_;
  scheduler_core core_;
  fake_engine engine_;
  fake_lower_tier tier_;
  std::vector<std::pair<sequence_id, std::vector<offered_block>>> questions_;
  expectations truth_;
  std::vector<std::vector<token_id>> conversations_;
  std::uint64_t next_id_ = 1;
  monotonic_time now_{1'000'000};
  bool quiet_ = false;
};

}  // namespace

TEST_CASE("every request gets the tokens it would get alone, exactly once", "[schedule]") {
  round_totals totals;
  for (unsigned seed = 1; seed <= 400; ++seed) {
    INFO("seed " << seed);
    random_round(seed, totals).run();
  }
  WARN(totals.operations << " calls, " << totals.steps << " steps, " << totals.finished
                         << " requests finished, " << totals.cancelled << " cancelled, "
                         << totals.refused << " refused, " << totals.resumed << " resumed, "
                         << totals.preemptions << " preemptions, " << totals.hit_tokens
                         << " cached prompt tokens, " << totals.copies << " copies, "
                         << totals.composed << " composed orders");
  REQUIRE(totals.operations > 100'000);
  REQUIRE(totals.preemptions > 1'000);
  REQUIRE(totals.hit_tokens > 10'000);
  REQUIRE(totals.copies > 1'000);
  REQUIRE(totals.composed > 1'000);
}

TEST_CASE("a lower tier changes no token and loses no block", "[schedule][offload]") {
  round_totals totals;
  for (unsigned seed = 1; seed <= 300; ++seed) {
    INFO("seed " << seed);
    random_round(seed, totals, true).run();
  }
  WARN(totals.operations << " calls, " << totals.steps << " steps, " << totals.finished
                         << " requests finished, " << totals.preemptions << " preemptions, "
                         << totals.offloaded << " blocks offloaded, " << totals.offers
                         << " offers taken, " << totals.uploaded << " blocks uploaded, "
                         << totals.dropped << " dropped; of those preempted " << totals.swapped
                         << " swapped and " << totals.kept << " kept, after " << totals.questions
                         << " questions");
  REQUIRE(totals.preemptions > 1'000);
  REQUIRE(totals.offloaded > 10'000);
  REQUIRE(totals.uploaded > 1'000);
  REQUIRE(totals.dropped > 1'000);
  REQUIRE(totals.swapped > 100);
}

TEST_CASE("tenants that take turns change no token and lose nothing", "[schedule][shares]") {
  round_totals totals;
  for (unsigned seed = 1; seed <= 200; ++seed) {
    INFO("seed " << seed);
    random_round(seed, totals, seed % 2 == 0, 4).run();
  }
  REQUIRE(totals.preemptions > 500);
  REQUIRE(totals.composed > 500);
}
