// What every end of an admitted request has in common, wherever it comes from: metrics, and what
// its tenant gets back.
#pragma once

#include "actors/base/messages.hpp"

namespace troupe {

/// The facts of a request that its stream has not added to yet.
inline request_facts facts_of(const request_ticket& ticket, monotonic_time now) {
  request_facts facts;
  facts.service = ticket.service;
  facts.prompt_tokens = ticket.prompt->size();
  facts.arrival = ticket.arrival;
  facts.end = now;
  return facts;
}

/// Once for each ticket that is not refused. used_tokens: prompt and output, or nothing if it never
/// ran.
inline void close_request(metrics& measured, tenancy& tenants, const request_ticket& ticket,
                          const request_facts& facts, std::uint64_t used_tokens) {
  measured.observe_request_end(facts);
  tenants.settle(ticket.account, ticket.admitted, used_tokens, facts.end);
}

}  // namespace troupe
