// What the configuration says about scheduling, as the scheduler's limits: the one translation, so
// that a simulated server has the defaults of a real one.
#pragma once

#include "config/config.hpp"
#include "runtime/schedule/scheduler_core.hpp"

namespace troupe {

/// What a lane promises for its first tokens.
first_token_target first_token_of(const lane_config& promise);

/// All that follows from the configuration alone; blocks, the model's properties and
/// max_num_queued_reqs are the caller's. max_model_len as configured: 0 where the model decides.
scheduler_limits configured_limits(const server_config& config);

}  // namespace troupe
