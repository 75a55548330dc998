// Troupe inside another program: the same actors as the server's, without a socket.
//
//   auto engine = troupe::embedded_engine::open({.model = "model.gguf"}).value();
//   auto answer = engine.generate({.prompt = "The capital of France is"}).value();
//   while (auto part = answer.next()) std::cout << part->text;
//
// An application's own CAF actor can take part too: generate_to() has a request actor's messages
// sent to it.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include <caf/actor.hpp>
#include <caf/allowed_unsafe_message_type.hpp>

#include "actors/wiring/engine.hpp"

namespace troupe {

/// What an application's actor receives: accepted, delta, then finished or error_reply, with the id
/// it chose.
struct generation_event {
  std::string request_id;
  std::uint32_t sequence = 0;
  std::uint64_t offset = 0;
  message_body body;
};

/// A piece of one sequence's output: where its first token stands, and what delta says.
struct generation_part : delta {
  std::uint32_t sequence = 0;
  std::uint64_t offset = 0;
};

/// One request's output as it comes. Dropping it before its end cancels the request.
class generation {
 public:
  struct shared;
  explicit generation(std::shared_ptr<shared> stream);
  generation(generation&&) noexcept;
  generation& operator=(generation&&) noexcept;
  ~generation();

  /// The next piece, of any sequence; waits for it. nullopt: the request has ended, see outcome().
  std::optional<generation_part> next();
  /// After next() gave nullopt: the summary, or the error that ended it.
  [[nodiscard]] const result<finished>& outcome() const;
  /// Everything that is left of the first sequence, as text.
  result<std::string> text();
  void cancel();

 private:
  std::shared_ptr<shared> stream_;
};

class embedded_engine {
 public:
  static result<embedded_engine> open(const server_config& config, const engine_hooks& hooks = {});
  embedded_engine(embedded_engine&&) noexcept;
  embedded_engine& operator=(embedded_engine&&) noexcept;
  ~embedded_engine();

  /// Errors: overloaded, unavailable. What is wrong with the request itself is the generation's
  /// outcome.
  result<generation> generate(submit request, lane service = lane::realtime);

  /// The receiver, an actor of system(), gets a generation_event for everything that the request's
  /// actor says. request_id: the caller's own name for it, unique among its running requests.
  result<void> generate_to(const caf::actor& receiver, std::string request_id, submit request,
                           lane service = lane::realtime);
  void cancel(const std::string& request_id);

  [[nodiscard]] caf::actor_system& system();
  [[nodiscard]] engine& core();

 private:
  struct state;
  explicit embedded_engine(std::unique_ptr<state> owned);
  std::unique_ptr<state> state_;
};

}  // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::generation_event)
