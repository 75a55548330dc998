// How every actor of Troupe is spawned: one class template hosts a plain state class, and installs
// handlers for errors, exceptions and unexpected messages, because CAF's defaults print to stdout.
//
// A state class has `static constexpr const char* name`, a constructor (caf::event_based_actor*
// self, ...) and `caf::behavior make_behavior()`. It may have `void on_exit()`.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <optional>
#include <utility>

#include <caf/all.hpp>
#include <spdlog/spdlog.h>

#include "config/limits.hpp"
#include "kernels/base/thread_pool.hpp"
#include "runtime/schedule/scheduler_core.hpp"

namespace troupe {

/// Where an actor runs. Tests on CAF's test coordinator pool everything; production detaches what
/// must not wait behind the pool's run queue (design, section 3).
enum class placement { pooled, detached };

/// Monotonic time, handed in so that tests and simulation can turn it.
using clock_source = std::function<monotonic_time()>;
inline monotonic_time steady_now() {
  return std::chrono::steady_clock::now().time_since_epoch();
}

/// For make_behavior() of the actors on a VIP's way, which a detached actor runs on its own thread:
/// their threads do not wait for the end of the slice of one that reads a flood.
inline void wake_promptly(placement where) {
  if (where == placement::detached)
    set_thread_slice(std::chrono::microseconds{limits::prompt_slice_us});
}

template <class State>
class hosted_actor : public caf::event_based_actor {
 public:
  template <class... Arguments>
  explicit hosted_actor(caf::actor_config& config, Arguments&&... arguments)
      : caf::event_based_actor(config) {
    set_default_handler([](caf::scheduled_actor*,
                           caf::message_view& message) -> caf::result<caf::message> {
      spdlog::error("{}: unexpected message {}", State::name, caf::to_string(message.content()));
      return caf::message{};
    });
    set_error_handler([](caf::scheduled_actor* self, caf::error& failure) {
      spdlog::error("{}: error {}", State::name, self->system().render(failure));
    });
    set_exception_handler([](caf::scheduled_actor*, std::exception_ptr& raised) -> caf::error {
      try {
        std::rethrow_exception(raised);
      } catch (const std::exception& failure) {
        spdlog::error("{}: ended by an exception: {}", State::name, failure.what());
        return caf::make_error(caf::sec::runtime_error, failure.what());
      } catch (...) {
        spdlog::error("{}: ended by an unknown exception", State::name);
        return caf::make_error(caf::sec::runtime_error);
      }
    });
    state_.emplace(this, std::forward<Arguments>(arguments)...);
  }

  caf::behavior make_behavior() override { return state_->make_behavior(); }
  const char* name() const override { return State::name; }
  void on_exit() override {
    if constexpr (requires(State & state) { state.on_exit(); }) state_->on_exit();
    state_.reset();  // handles held by the state could form cycles
  }

 private:
  std::optional<State> state_;
};

template <class State, class... Arguments>
caf::actor spawn_actor(caf::actor_system& system, placement where, Arguments&&... arguments) {
  if (where == placement::detached)
    return system.spawn<hosted_actor<State>, caf::detached>(std::forward<Arguments>(arguments)...);
  return system.spawn<hosted_actor<State>>(std::forward<Arguments>(arguments)...);
}

/// Urgent messages (a VIP's, step_done, cancels) overtake others in the receiver's mailbox.
template <class Message>
void send_to(const caf::actor& receiver, Message&& message, bool urgent = false) {
  if (urgent)
    caf::anon_send<caf::message_priority::high>(receiver, std::forward<Message>(message));
  else
    caf::anon_send(receiver, std::forward<Message>(message));
}

/// The same from an actor: what belongs to a VIP is urgent.
template <class Message>
void send_in_lane(caf::event_based_actor* self, lane service, const caf::actor& receiver,
                  Message&& message) {
  if (service == lane::vip)
    self->send<caf::message_priority::high>(receiver, std::forward<Message>(message));
  else
    self->send(receiver, std::forward<Message>(message));
}

}  // namespace troupe
