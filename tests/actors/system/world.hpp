// Every actor of an engine on CAF's test coordinator: one thread, time that only the test turns,
// and a seeded choice among what could run next. Router, scheduler, worker and gateway are those of
// production; the model is a hash (naive_engine.hpp), the port records, and prepared prompts wait
// until the dice let them.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "actors/gateway/admission_gate.hpp"
#include "actors/gateway/port.hpp"
#include "runtime/observe/step_watch.hpp"
#include "tests/actors/system/naive_engine.hpp"

namespace troupe::test {

struct world_options {
  std::uint64_t seed = 0;
  scheduler_limits limits;  ///< end_of_generation is set by the world
  std::array<std::uint32_t, lane_count> credits{64, 64, 64};
  server_config tenants;  ///< api_key and tenants of it are read
  /// Before each step of any replica; may throw.
  hash_executor::step_hook before_step;
  /// Receives what leaves through the port.
  std::function<void(const outbound&)> on_event;
};

class world {
 public:
  explicit world(world_options options);
  ~world();  ///< ends the actors if stop() did not

  gateway_link& link();
  admission_gate& gate();
  engine_status& status();
  step_watch& watch();
  tenancy& tenants();
  metrics& measured();
  const intake& prompts();
  std::shared_ptr<const tokenizer> vocabulary();
  std::mt19937_64& dice();

  /// Runs one message of one actor, or one prompt's preparation. False: nothing can run.
  bool step();
  /// Runs until nothing can run.
  void settle();
  void advance(std::chrono::nanoseconds time);

  void drain(std::chrono::milliseconds grace);
  enum class half { scheduler, worker };
  /// Ends that half of the replica as a failure would.
  void kill(half which);
  bool is_drained() const;
  const std::vector<std::string>& fatal_reasons() const;
  std::uint64_t replica_count() const;

  /// Ends all actors. Returns how many are left when nothing can run any more.
  std::size_t stop();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace troupe::test
