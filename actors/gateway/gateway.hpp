// The gateway actor: takes what the ports hand over, has it prepared on the tokenizer threads,
// charges its tenant, passes it to the router, and brings every reply back to its port, a step's
// deltas in one burst. Messages of the vip lane are urgent on every way.
//   from ports (through gateway_link): inbound_submit, cancel_by_client, resume_by_client,
//   forget_client from the router and request actors: client_events, return_credits draining:
//   begin_drain from the supervisor, on to the router; router_idle back
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include <caf/actor.hpp>

#include "actors/base/messages.hpp"
#include "actors/base/spawn.hpp"
#include "actors/gateway/admission_gate.hpp"
#include "actors/gateway/port.hpp"
#include "config/limits.hpp"

namespace troupe {

/// The ports of a gateway by index. Filled while the gate is still closed.
using port_table = std::array<std::atomic<client_port*>, limits::gateway_port_count_max>;
using port_list = std::shared_ptr<port_table>;

struct gateway_options {
  caf::actor router;
  std::shared_ptr<admission_gate> gate;
  std::shared_ptr<const intake> prompts;
  job_pool* jobs = nullptr;  ///< outlives the actor system
  port_list ports;
  std::shared_ptr<metrics> measured;
  std::shared_ptr<tenancy> tenants;
  clock_source now = steady_now;
  std::uint64_t seed = 0;  ///< where the seeds of requests that bring none are drawn from
  placement where = placement::pooled;
};

caf::actor spawn_gateway(caf::actor_system& system, const gateway_options& options);

/// The ports' way to a gateway actor.
struct gateway_link_options {
  caf::actor gateway;
  std::shared_ptr<admission_gate> gate;
  std::shared_ptr<metrics> measured;
  std::shared_ptr<tenancy> tenants;
  clock_source now = steady_now;
};
std::unique_ptr<gateway_link> make_link(gateway_link_options options);

}  // namespace troupe
