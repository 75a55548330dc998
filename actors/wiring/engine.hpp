// A running engine: one loaded model, its actors, and the ports that clients reach it by. `wire` in
// engine.cpp is the one place where actors are put together.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <caf/actor.hpp>

#include "actors/gateway/port.hpp"
#include "config/config.hpp"
#include "kernels/attention/attention.hpp"
#include "kernels/base/result.hpp"
#include "runtime/execute/loaded_model.hpp"
#include "runtime/execute/step_executor.hpp"

namespace troupe {

struct engine_hooks {
  std::function<void(float)> on_loading;      ///< 0..1, from the loading thread
  std::function<void(std::string)> on_fatal;  ///< the engine is dead; from an actor's thread
  /// Wraps every executor that a replica is given (tests inject faults with it).
  std::function<std::unique_ptr<step_executor>(std::unique_ptr<step_executor>)> wrap_executor;
};

class engine {
 public:
  /// Loads the model, sizes the KV cache and starts the actors, without any port. Errors:
  /// everything that can be wrong with the file or the memory.
  static result<std::unique_ptr<engine>> start(const server_config& config,
                                               const engine_hooks& hooks);
  /// The same on a model that is loaded already.
  static result<std::unique_ptr<engine>> start(const server_config& config,
                                               const engine_hooks& hooks,
                                               std::shared_ptr<const loaded_model> model);
  virtual ~engine() = default;

  /// Adds a port. make is given the services with the port's index. Requests are admitted after
  /// open().
  virtual result<client_port*> add_port(
      const std::function<result<std::unique_ptr<client_port>>(const port_services&)>& make) = 0;
  virtual void open() = 0;

  /// Refuses what is new, lets what runs finish within the grace time, aborts the rest, closes the
  /// ports. The grace time ends as soon as `is_over` (asked every drain_poll_ms) says so.
  virtual void drain(std::chrono::milliseconds grace,
                     const std::function<bool()>& is_over = {}) = 0;

  /// How long the step in flight has been running (zero: none).
  [[nodiscard]] virtual std::chrono::nanoseconds step_running_for() const = 0;
  [[nodiscard]] virtual engine_state state() const = 0;
  [[nodiscard]] virtual const loaded_model& model() const = 0;
  [[nodiscard]] virtual const intake& prompts() const = 0;
  [[nodiscard]] virtual metrics& measured() = 0;
  [[nodiscard]] virtual caf::actor_system& system() = 0;
};

/// The KV cache's size: what the configuration asks for, or by default up to 1 GiB and at most a
/// quarter of the memory that is free. Errors: out_of_memory (says what is needed and what there
/// is).
result<std::uint32_t> kv_block_count(const server_config& config, const kernels::kv_layout& layout,
                                     std::size_t layer_count, std::uint32_t max_model_len,
                                     std::uint64_t free_bytes);
/// Host memory for the tier below the device (kv_offload_gib); 0 without one. Errors:
/// invalid_argument, out_of_memory.
result<std::size_t> kv_offload_bytes(const server_config& config, std::uint64_t free_bytes);

}  // namespace troupe
