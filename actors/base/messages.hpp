// What actors say to each other inside a process. One-way messages with ids; no promises are held.
// Plain values and shared immutable data: CAF never serializes them (design, section 3).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <caf/actor.hpp>
#include <caf/allowed_unsafe_message_type.hpp>

#include "actors/gateway/port.hpp"
#include "actors/request/transcript.hpp"
#include "runtime/schedule/scheduler_core.hpp"

namespace troupe {

/// A prepared request on its way through the actors. Immutable; everyone shares it.
struct request_ticket {
  request_id id{};
  std::string client_request_id;
  std::string tenant;
  client_ref client;  ///< who asked first; a resume may rebind the stream to another connection
  lane service = lane::realtime;
  std::int32_t priority = 0;
  bool resumable = false;
  std::shared_ptr<const std::vector<token_id>> prompt;
  std::shared_ptr<const generation_params> params;
  monotonic_time arrival{};
  std::optional<monotonic_time> deadline;  ///< ends it
  std::optional<monotonic_time> due;       ///< orders it
  account_index account = account_index::unlimited;
  admission admitted;  ///< what settles with the account when the request ends
  double share = 1.0;  ///< its tenant's weight within the lane
};
using ticket_ptr = std::shared_ptr<const request_ticket>;

// --- gateway -> router
// ---------------------------------------------------------------------------------

struct route_request {
  ticket_ptr ticket;
};
struct cancel_by_client {
  client_ref client;
  std::string tenant, client_request_id;
};
struct resume_by_client {
  client_ref client;
  std::string tenant, client_request_id;
  resume offsets;
};
struct forget_client {
  client_ref client;
  error reason;  ///< what its requests end with
};

// --- router -> gateway
// ---------------------------------------------------------------------------------

/// Requests that left the waiting line: their lanes' credits are free again.
struct return_credits {
  std::array<std::uint32_t, lane_count> counts{};
};
/// Messages for clients, from the router and from request actors.
struct client_events {
  std::vector<outbound> events;
};

// --- router <-> scheduler
// ------------------------------------------------------------------------------

struct enqueue_request {
  ticket_ptr ticket;
  std::vector<schedule_request::progress> resumed;
};
struct enqueue_refused {
  request_id id{};
  error reason;
};
struct cancel_scheduled {
  request_id id{};
};
struct stop_scheduled_sequence {
  sequence_id sequence;
};
/// Everything that one step changed. The incarnation lets the router drop what a dead scheduler
/// sent.
struct step_updates {
  std::uint64_t incarnation = 0;
  std::vector<request_started> started;
  std::vector<sequence_update> updates;
};
struct deadline_passed {
  std::uint64_t incarnation = 0;
  request_id id{};
};

// --- scheduler <-> worker
// ------------------------------------------------------------------------------

struct execute_step {
  std::shared_ptr<const step_plan> plan;
};
struct step_done {
  std::shared_ptr<const step_result> result;
};

// --- scheduler <-> kv_pool
// -----------------------------------------------------------------------------

/// Each is answered by one blocks_stored, which is the sender's credit for the next.
struct store_blocks {
  std::shared_ptr<const std::vector<stored_block>> blocks;
};
struct blocks_stored {};
struct find_blocks {
  sequence_id sequence;
  std::shared_ptr<const std::vector<block_key_ptr>>
      keys;  ///< of the sequence's full blocks, in order
};
struct blocks_found {
  sequence_id sequence;
  std::vector<offered_block> blocks;
};

// --- scheduler <-> composer
// ----------------------------------------------------------------------------

struct compose_batches_for {
  std::shared_ptr<const async_batch_view> view;
};
struct batches_composed {
  std::shared_ptr<const async_plan> plan;
};

// --- router <-> request
// --------------------------------------------------------------------------------

struct request_tokens {
  std::optional<request_started> started;  ///< with the first ones
  std::vector<sequence_update> updates;    ///< all of this request
};
struct abort_request {
  error reason;
};
struct resume_stream {
  client_ref client;
  resume offsets;
};
struct report_progress {
  std::uint64_t incarnation = 0;  ///< of the new scheduler; comes back in the answer
};
struct progress_report {
  std::uint64_t incarnation = 0;
  request_id id{};
  std::vector<schedule_request::progress> progress;
};

struct request_ended {
  request_id id{};
  std::shared_ptr<const transcript>
      said;  ///< kept for a client that resumes; null unless the ticket is resumable
  std::uint32_t resume_count = 0;  ///< resume_stream orders that it has answered
};

// --- supervisor
// ----------------------------------------------------------------------------------------

/// To the router: a (new) scheduler stands ready; every unfinished request is to be handed to it.
struct replica_ready {
  std::uint64_t incarnation = 0;
  caf::actor scheduler;
};
/// Supervisor -> gateway, which refuses what is new and waits for what it is preparing -> router.
/// When nothing is left, router_idle takes the same way back, behind the last reply.
struct begin_drain {
  std::chrono::milliseconds grace{};
};
struct router_idle {};
/// To the router: end everything that is left, and everything that comes later, with this reason.
struct abort_all {
  error reason;
};

}  // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::route_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::cancel_by_client)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::resume_by_client)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::forget_client)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::return_credits)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::client_events)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::enqueue_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::enqueue_refused)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::cancel_scheduled)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::stop_scheduled_sequence)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::step_updates)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::deadline_passed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::execute_step)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::step_done)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::store_blocks)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::blocks_stored)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::find_blocks)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::blocks_found)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::compose_batches_for)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::batches_composed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::request_tokens)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::abort_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::resume_stream)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::report_progress)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::progress_report)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::request_ended)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::replica_ready)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::begin_drain)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::router_idle)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::abort_all)
