#include "bench/compose/batch_cases.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "kernels/base/check.hpp"
#include "runtime/schedule/compose/prefix_tree.hpp"
#include "runtime/simulate/made_prompts.hpp"
#include "runtime/simulate/random_draws.hpp"
#include "runtime/simulate/virtual_engine.hpp"

namespace troupe::bench {
namespace {

constexpr double never = std::numeric_limits<double>::infinity();
constexpr std::uint32_t block_tokens = 16;
/// Requests that ended before, of which the composer knows how much of max_tokens they used.
constexpr int observed_requests = 200;

/// What requests of one workload look like. Tokens are means of lognormal draws.
struct shape {
  std::uint32_t groups = 0, prefix_tokens = 0;
  double prompt = 100.0, output = 64.0, sigma = 0.6;
  std::uint32_t seats = 16;
  double kv_requests = 64.0;  ///< mean requests that the KV cache holds
  double due_share = 0.0;
};

shape shape_of(batch_workload workload, std::uint32_t request_count) {
  const std::uint32_t groups = std::max(2u, request_count / 8);
  switch (workload) {
    case batch_workload::prefix_pool:
      return {
          .groups = groups, .prefix_tokens = 384, .prompt = 48, .output = 32, .kv_requests = 10};
    case batch_workload::mixed_deadlines: return {.prompt = 150, .output = 80, .due_share = 0.67};
    case batch_workload::blend: return {.prompt = 0, .output = 0, .sigma = 0.3};
    case batch_workload::plain: return {.prompt = 160, .output = 120, .sigma = 0.8};
    case batch_workload::prefix_deadlines:
      return {.groups = groups,
              .prefix_tokens = 384,
              .prompt = 48,
              .output = 32,
              .kv_requests = 10,
              .due_share = 0.5};
    case batch_workload::tight_blocks:
      return {.prompt = 64, .output = 240, .seats = 32, .kv_requests = 12};
  }
  return {};
}

/// A small model on two cores: costs in proportion to rows and keys, so that the engine's steps and
/// what the scheduler predicts are the same function.
cost_profile profile() {
  return {.step_ms = 6.0,
          .row_tile_ms = 1e-9,
          .row_ms = 0.18,
          .logit_row_ms = 0.06,
          .decode_pair_us = 0.6,
          .prefill_pair_us = 0.22};
}

simulate::step_cost cost_of(const cost_profile& of) {
  return {.compute = {.step = of.step_ms,
                      .prefill_token = of.row_ms,
                      .decode_sequence = of.row_ms,
                      .prefill_pair = of.prefill_pair_us / 1e3,
                      .decode_pair = of.decode_pair_us / 1e3,
                      .logit_row = of.logit_row_ms},
          .memory = {},
          .overhead = {}};
}

std::uint32_t draw_tokens(double mean, double sigma, std::uint32_t most,
                          simulate::random_draws& random) {
  const double tokens = mean * std::exp(sigma * random.normal() - sigma * sigma / 2.0);
  return static_cast<std::uint32_t>(std::clamp(tokens, 1.0, static_cast<double>(most)));
}

/// One request that uses all of its max_tokens.
simulate::virtual_request draw_request(const shape& of, bool is_blend, bool is_long_prompt,
                                       simulate::random_draws& random) {
  constexpr std::uint32_t tokens_max = 2000;
  const double prompt = is_blend ? (is_long_prompt ? 700.0 : 30.0) : of.prompt;
  const double output = is_blend ? (is_long_prompt ? 8.0 : 200.0) : of.output;
  simulate::virtual_request made;
  made.service = lane::async;
  made.prompt_tokens = draw_tokens(prompt, of.sigma, tokens_max, random);
  made.output_tokens = draw_tokens(output, of.sigma, tokens_max, random);
  if (of.groups == 0) return made;
  made.prefix = random.below(of.groups);
  made.prefix_tokens = of.prefix_tokens;
  made.prompt_tokens += of.prefix_tokens;
  return made;
}

/// The share of max_tokens that a request uses: more often much than little.
double draw_share(simulate::random_draws& random) {
  return std::sqrt(random.uniform());
}

double work_ms(const simulate::virtual_request& request, const cost_profile& cost) {
  return cost.row_ms * (request.prompt_tokens + request.output_tokens) +
         (cost.step_ms / 8.0 + cost.logit_row_ms) * request.output_tokens;
}

async_waiting waiting_of(std::uint32_t index, const prompt_ptr& prompt, std::uint32_t max_tokens) {
  async_waiting made;
  made.id = static_cast<request_id>(index);
  made.prompt = prompt;
  made.max_tokens = max_tokens;
  return made;
}

}  // namespace

std::string_view to_string(batch_workload value) {
  switch (value) {
    case batch_workload::prefix_pool: return "prefix_pool";
    case batch_workload::mixed_deadlines: return "mixed_deadlines";
    case batch_workload::blend: return "blend";
    case batch_workload::plain: return "plain";
    case batch_workload::prefix_deadlines: return "prefix_deadlines";
    case batch_workload::tight_blocks: return "tight_blocks";
  }
  return "plain";
}

batch_case make_batch_case(batch_workload workload, std::uint32_t request_count,
                           std::uint64_t seed) {
  shape of = shape_of(workload, request_count);
  of.seats = std::min(of.seats, std::max(2u, request_count / 3));
  of.kv_requests = std::min(of.kv_requests, 0.6 * request_count);
  simulate::random_draws random(seed, static_cast<simulate::draw_stream>(workload));
  simulate::made_prompts prompts(seed, true);
  batch_case made;
  async_batch_view& view = made.view;
  for (int i = 0; i < observed_requests; ++i)
    view.lengths.observe(static_cast<std::uint32_t>(1000.0 * draw_share(random)), 1000);
  double tokens_sum = 0.0, work_sum = 0.0;
  std::uint32_t needed_max = 0;
  for (std::uint32_t i = 0; i < request_count; ++i) {
    auto request = draw_request(of, workload == batch_workload::blend, i % 2 == 0, random);
    const std::uint32_t max_tokens = request.output_tokens;
    request.output_tokens = static_cast<std::uint32_t>(std::ceil(draw_share(random) * max_tokens));
    view.waiting.push_back(waiting_of(i, prompts.prompt_of(request, i), max_tokens));
    made.requests.push_back(request);
    tokens_sum += request.prompt_tokens + max_tokens;
    work_sum += work_ms(request, profile());
    needed_max = std::max(needed_max, (request.prompt_tokens + max_tokens) / block_tokens + 2);
  }
  made.due_ms.assign(request_count, never);
  for (std::uint32_t i = 0; i < request_count; ++i) {
    if (random.uniform() >= of.due_share) continue;
    made.due_ms[i] = work_sum * (0.1 + 0.6 * random.uniform());
    view.waiting[i].due_in_ms = made.due_ms[i];
  }
  view.cost = profile();
  view.limits = {
      .sequences_max = of.seats,
      .block_count = std::max(needed_max, static_cast<std::uint32_t>(of.kv_requests * tokens_sum /
                                                                     request_count / block_tokens)),
      .block_tokens = block_tokens,
      .step_tokens_max = 2048,
      .starts_max = 32,
      .step_ms_max = 60.0};
  return made;
}

scheduler_limits scheduler_limits_of(const batch_case& of) {
  const async_limits& given = of.view.limits;
  scheduler_limits limits;
  limits.max_model_len = 8192;
  limits.max_num_seqs = given.sequences_max;
  limits.max_num_batched_tokens = given.step_tokens_max;
  limits.max_batch_size = given.starts_max;
  limits.max_num_queued_reqs = static_cast<std::uint32_t>(of.requests.size());
  limits.block_tokens = given.block_tokens;
  limits.block_count = given.block_count;
  limits.step_ms_max = static_cast<std::uint32_t>(given.step_ms_max);
  limits.lanes[to_index(lane::async)].hold_max = std::chrono::hours{24};
  limits.initial_cost = of.view.cost;
  limits.enable_prefix_caching = given.enable_prefix_caching;
  return limits;
}

realized_batch realize(const batch_case& of, const std::vector<request_id>& order,
                       std::uint32_t running_max, const async_objective& objective) {
  simulate::virtual_engine_options options;
  options.limits = scheduler_limits_of(of);
  options.cost = cost_of(of.view.cost);
  options.plan.emplace();
  options.plan->order = order;
  options.plan->running_max = running_max;
  const auto& requests = of.requests;
  const auto made = simulate::virtual_engine(options).run(requests);

  realized_batch realized;
  const auto ms_of = [](monotonic_time time) {
    return std::chrono::duration<double, std::milli>(time).count();
  };
  realized.makespan_ms = ms_of(made.end);
  std::uint64_t decode_rows = 0;
  std::vector<tree_prompt> prompts;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    TROUPE_CHECK(made.outcomes[i].end == simulate::virtual_end::completed);
    realized.tardiness_ms += std::max(0.0, ms_of(made.outcomes[i].finished) - of.due_ms[i]);
    decode_rows += requests[i].output_tokens - 1;
    prompts.push_back({*of.view.waiting[i].prompt, 0});
  }
  const std::uint32_t tokens = of.view.limits.block_tokens;
  const prefix_tree tree(prompts, 0, tokens);
  std::uint64_t first_time = decode_rows;
  for (const prefix_node& node : tree.nodes()) first_time += std::uint64_t{node.blocks()} * tokens;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto path = tree.path_of(i);
    const std::uint32_t shared = path.empty() ? 0 : tree.nodes()[path.back()].block_end;
    first_time += requests[i].prompt_tokens - shared * tokens;
  }
  realized.recomputed_rows = made.counts.rows - first_time;
  realized.preemptions = made.counts.preemptions;
  realized.objective_ms =
      objective.makespan * realized.makespan_ms + objective.tardiness * realized.tardiness_ms +
      objective.recomputed * static_cast<double>(realized.recomputed_rows) * of.view.cost.row_ms;
  return realized;
}

}  // namespace troupe::bench
