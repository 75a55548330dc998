#include "runtime/schedule/request_state.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace troupe {
namespace {

error invalid(std::string message) {
  return {errc::invalid_argument, std::move(message)};
}

result<void> check_fit(const schedule_request& request, const scheduler_limits& limits) {
  if (!request.prompt || request.prompt->empty()) return invalid("the prompt has no tokens");
  if (!request.params) return invalid("the request has no generation parameters");
  if (!(request.tenant_share > 0.0)) {
    return invalid(fmt::format("tenant_share is {}, but must be above 0", request.tenant_share));
  }
  const auto& params = *request.params;
  if (params.n == 0 || params.n > limits.max_num_seqs) {
    return invalid(fmt::format("n is {}, but must be in 1 .. {} (max_num_seqs)", params.n,
                               limits.max_num_seqs));
  }
  const std::size_t prompt_count = request.prompt->size();
  const std::uint32_t max_tokens = params.stopping.max_tokens;
  if (prompt_count + std::min(max_tokens, 1u) > limits.max_model_len) {
    return invalid(
        fmt::format("a prompt of {} tokens leaves no room for output: max_model_len is {}",
                    prompt_count, limits.max_model_len));
  }
  // The last drawn token's K and V are never written: nothing follows it. Sequences of one request
  // are preempted one by one, so that one of them alone has to fit.
  const std::uint64_t tokens_max =
      std::min<std::uint64_t>(std::uint64_t{prompt_count} + max_tokens, limits.max_model_len);
  const std::uint64_t written_max = max_tokens == 0 ? tokens_max : tokens_max - 1;
  const std::uint32_t needed =
      blocks_for(static_cast<std::uint32_t>(written_max), limits.block_tokens);
  if (needed > limits.block_count) {
    return invalid(
        fmt::format("a prompt of {} tokens and max_tokens of {} need {} KV blocks of {} "
                    "positions, but there are {}; shorten the prompt or lower max_tokens",
                    prompt_count, max_tokens, needed, limits.block_tokens, limits.block_count));
  }
  return {};
}

result<void> check_resumed(const schedule_request& request, const scheduler_limits& limits) {
  if (request.resumed.empty()) return {};
  const auto& params = *request.params;
  if (request.resumed.size() != params.n) {
    return invalid(fmt::format("progress of {} sequences for a request of {}",
                               request.resumed.size(), params.n));
  }
  const std::size_t output_max = std::min<std::size_t>(
      params.stopping.max_tokens, limits.max_model_len - request.prompt->size());
  bool any_unfinished = false;
  for (const auto& each : request.resumed) {
    if (each.finished) continue;
    any_unfinished = true;
    if (!each.output.empty() && each.output.size() >= output_max) {
      return invalid(
          fmt::format("an unfinished sequence has {} output tokens, at most {} are allowed",
                      each.output.size(), output_max));
    }
  }
  if (!any_unfinished) return invalid("every sequence has finished already");
  return {};
}

}  // namespace

result<request_state> make_request_state(schedule_request request, const scheduler_limits& limits,
                                         std::uint64_t order) {
  TROUPE_TRY_VOID(check_fit(request, limits));
  TROUPE_TRY_VOID(check_resumed(request, limits));
  request_state state;
  state.order = order;
  state.key = admission_key_of(request, order, false, limits.lanes[to_index(request.service)]);
  state.rank = running_rank_of(request, order);
  state.prompt_shared = true;
  for (std::uint32_t i = 0; i < request.params->n; ++i) {
    sequence_state sequence{.index = i,
                            .output = {},
                            .paced_since = {},
                            .table = block_table(limits.block_tokens),
                            .lost = {},
                            .offers = {},
                            .draft = {}};
    if (!request.resumed.empty()) {
      sequence.finished = request.resumed[i].finished;
      sequence.output = std::move(request.resumed[i].output);
    }
    if (!sequence.finished) ++state.unfinished_count;
    // Any output means that the prompt was computed, its logprobs delivered and the first tokens
    // drawn.
    if (!sequence.output.empty() || sequence.finished) {
      state.prompt_shared = false;
      state.prompt_rows_scored = static_cast<std::uint32_t>(request.prompt->size());
    }
    state.sequences.push_back(std::move(sequence));
  }
  request.resumed.clear();
  state.request = std::move(request);
  return state;
}

}  // namespace troupe
