// What tenants are charged, so that those that wait in a lane are admitted in proportion to their
// shares: a request's prompt and the output that is expected of it when it is first admitted, more
// when it makes more, and at its end what it did not use comes back, unless its tenant rested
// meanwhile: who was idle has no credit. A charge is never below what was used.
#include <algorithm>

#include "runtime/schedule/scheduler_state.hpp"

namespace troupe {

void scheduler_core::state::charge(request_state& request, std::uint64_t tokens) {
  request.charged_tokens += tokens;
  request.charge_stay = queues.charge(request, tokens);
}

void scheduler_core::state::charge_admission(request_state& request) {
  if (request.charged_tokens == 0) charge(request, request.queued_work.tokens());
}

void scheduler_core::state::charge_token(request_state& request) {
  ++request.made_tokens;
  if (request.used_tokens() <= request.charged_tokens) return;
  charge(request, std::max<std::uint64_t>(expected_work_of(request).output_tokens, 1));
}

void scheduler_core::state::settle_charge(const request_state& request) {
  if (request.charged_tokens <= request.used_tokens()) return;
  queues.refund(request, request.charged_tokens - request.used_tokens());
}

}  // namespace troupe
