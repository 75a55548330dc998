// The request actor: one running request from its first step to its one terminal reply. Holds every
// token that was emitted, so that losing a worker costs a recompute and never a token.
//   from the router: request_tokens, abort_request, resume_stream, report_progress
//   to the gateway: client_events; to the router: stop_scheduled_sequence, progress_report,
//   request_ended
#pragma once

#include <memory>

#include <caf/actor.hpp>

#include "actors/base/messages.hpp"
#include "actors/base/spawn.hpp"
#include "runtime/observe/metrics.hpp"
#include "runtime/text/tokenizer.hpp"

namespace troupe {

struct request_options {
  ticket_ptr ticket;
  caf::actor router;
  caf::actor gateway;
  std::shared_ptr<const tokenizer> tokens;
  std::shared_ptr<metrics> measured;
  std::shared_ptr<tenancy> tenants;
  clock_source now = steady_now;
};

/// Always pooled: there are as many as running requests.
caf::actor spawn_request(caf::actor_system& system, const request_options& options);

}  // namespace troupe
