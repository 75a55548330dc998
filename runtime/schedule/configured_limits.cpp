#include "runtime/schedule/configured_limits.hpp"

#include <algorithm>

namespace troupe {

namespace {

/// A VIP gets a token each step: what its target leaves beyond the first ones is for prompts of
/// other VIPs, and for predictions that were too low.
std::uint32_t vip_step_ms_max(const server_config& config) {
  constexpr double share_of_target = 0.625;
  if (config.vip_step_ms_max != 0) return config.vip_step_ms_max;
  const std::uint32_t target = config.lanes[to_index(lane::vip)].tpot_ms;
  if (target == 0) return config.step_ms_max;
  return std::clamp(static_cast<std::uint32_t>(share_of_target * target), 1u, config.step_ms_max);
}

}  // namespace

first_token_target first_token_of(const lane_config& promise) {
  return {.ms = static_cast<double>(promise.ttft_ms), .prompt_tokens = promise.ttft_prompt_tokens};
}

scheduler_limits configured_limits(const server_config& config) {
  scheduler_limits made;
  made.max_model_len = config.max_model_len;
  made.max_num_seqs = config.max_num_seqs;
  made.max_num_batched_tokens = config.max_num_batched_tokens;
  made.max_batch_size = config.max_batch_size;
  made.block_tokens = config.block_size;
  made.step_ms_max = config.step_ms_max;
  made.vip_step_ms_max = vip_step_ms_max(config);
  if (config.vip_step_ms_max == 0) made.vip_token_ms = config.lanes[to_index(lane::vip)].tpot_ms;
  made.composed_requests_max = static_cast<std::uint32_t>(std::min<std::uint64_t>(
      std::uint64_t{config.max_num_batches} * config.batch_size, limits::composed_requests_max));
  for (std::size_t i = 0; i < lane_count; ++i) {
    const lane_config& from = config.lanes[i];
    made.lanes[i] = {.reserved_fraction = from.reserved_fraction,
                     .cost_window = std::chrono::milliseconds{from.max_wait_ms},
                     .hold_max = std::chrono::milliseconds{from.max_delay_ms},
                     .first_token = first_token_of(from)};
  }
  made.enable_prefix_caching = config.enable_prefix_caching;
  made.enable_chunked_prefill = config.enable_chunked_prefill;
  return made;
}

}  // namespace troupe
