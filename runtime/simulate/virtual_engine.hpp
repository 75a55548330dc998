// Troupe's own policy on virtual time: the scheduler_core that serves, driven by an event loop
// whose steps last as long as a step_cost says and draw made-up tokens. No threads, no clock, no
// output: the same input gives the same result, bit for bit.
//
// A run makes its own scheduler, so that runs do not touch each other; what is kept between them
// are buffers (prompts by length, the last step's result).
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/simulate/step_cost.hpp"
#include "runtime/simulate/virtual_composer.hpp"
#include "runtime/simulate/virtual_request.hpp"

namespace troupe::simulate {

struct virtual_engine_options {
  scheduler_limits limits;
  step_cost cost;
  client_behaviour clients;
  request_path path;
  composer_settings composer;
  /// Requests that may wait in each lane, as the server's gate counts them; 0: no bound of its own.
  std::array<std::uint32_t, lane_count> queued_max{};
  std::optional<lane> one_lane;  ///< that all requests go into, whatever they ask for
  /// The max_tokens of every request, whose answer ends by itself. 0: each asks for what it gets,
  /// so that the scheduler knows how long its answer will be.
  std::uint32_t asked_tokens = 0;
  std::uint64_t seed = 0;   ///< of made-up prompt tokens and of the noise of steps
  moment_observer observe;  ///< after each step; empty: nobody looks
  /// Of async requests: followed from the first step on by what has been submitted by then.
  std::optional<async_plan> plan = {};
};

class virtual_engine {
 public:
  explicit virtual_engine(virtual_engine_options options);
  ~virtual_engine();
  virtual_engine(virtual_engine&&) noexcept;

  /// Serves them all and returns when the last has ended. Requests are ascending by arrival.
  virtual_result run(std::span<const virtual_request> requests);

 private:
  class loop;
  struct buffers;
  virtual_engine_options options_;
  std::unique_ptr<buffers> buffers_;
};

}  // namespace troupe::simulate
