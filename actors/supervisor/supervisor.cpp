#include "actors/supervisor/supervisor.hpp"

#include <algorithm>

#include <spdlog/spdlog.h>

#include "actors/supervisor/restart_policy.hpp"
#include "config/limits.hpp"

namespace troupe {

namespace {

using grace_over_atom = caf::atom_constant<caf::atom("graceover")>;

//   starting -> ready <-> restarting          ready -> draining -> drained
//                              \--too often, or an essential actor died--> dead
class supervisor_state {
 public:
  static constexpr const char* name = "supervisor";

  supervisor_state(caf::event_based_actor* self, supervisor_options options)
      : self_(self),
        options_(std::move(options)),
        restarts_(limits::replica_restarts_max,
                  std::chrono::milliseconds{limits::replica_restart_window_ms}) {}

  caf::behavior make_behavior() {
    self_->set_down_handler([this](const caf::down_msg& down) { take_death(down); });
    for (const auto& actor : options_.essential) self_->monitor(actor);
    start_replica();
    return {
        [this](const begin_drain& order) { drain(order.grace); },
        [this](router_idle) { finish_drain(); },
        [this](grace_over_atom) {
          if (drained_) return;
          self_->send(options_.router,
                      abort_all{{errc::unavailable, "the server is shutting down"}});
          // The router reports idle when the last reply is on its way; should it not, leave all the
          // same.
          if (std::exchange(grace_over_, true)) return finish_drain();
          self_->delayed_send(self_, std::chrono::seconds{1}, grace_over_atom::value);
        },
    };
  }

  void on_exit() {
    stop_replica();
    options_.essential.clear();
  }

 private:
  void start_replica() {
    replica_ = options_.make_replica(self_->system(), ++incarnation_);
    self_->monitor(replica_.scheduler);
    self_->monitor(replica_.worker);
    self_->send(options_.router, replica_ready{incarnation_, replica_.scheduler});
    if (!draining_) options_.status->set(engine_state::ready);
  }

  void stop_replica() {
    for (auto* half : {&replica_.scheduler, &replica_.worker}) {
      if (!*half) continue;
      self_->demonitor(*half);
      caf::anon_send_exit(*half, caf::exit_reason::user_shutdown);
      *half = nullptr;
    }
  }

  void take_death(const caf::down_msg& down) {
    const auto is_source = [&](const caf::actor& actor) { return down.source == actor; };
    if (std::ranges::any_of(options_.essential, is_source))
      return die("an actor that cannot be restarted has ended");
    // The other half of a replica that is being replaced: its death was on the way already.
    if (!is_source(replica_.scheduler) && !is_source(replica_.worker)) return;
    const char* half = down.source == replica_.worker ? "worker" : "scheduler";
    if (!draining_) options_.status->set(engine_state::restarting);
    stop_replica();
    if (!restarts_.allow(options_.now()))
      return die(fmt::format("the replica failed more than {} times within {} s",
                             limits::replica_restarts_max,
                             limits::replica_restart_window_ms / 1000));
    spdlog::warn(
        "supervisor: the {} died ({}); restarting the replica, requests go on from their tokens",
        half, self_->system().render(down.reason));
    start_replica();
  }

  void die(std::string reason) {
    if (options_.status->get() == engine_state::dead) return;
    options_.status->set(engine_state::dead);
    stop_replica();
    self_->send(options_.router, abort_all{{errc::internal, "the engine failed: " + reason}});
    spdlog::error("supervisor: {}", reason);
    if (options_.on_fatal) options_.on_fatal(std::move(reason));
  }

  /// A second order only shortens the grace time.
  void drain(std::chrono::milliseconds grace) {
    if (!std::exchange(draining_, true)) {
      if (options_.status->get() != engine_state::dead)
        options_.status->set(engine_state::draining);
      self_->send(options_.gateway, begin_drain{grace});
    }
    self_->delayed_send(self_, grace, grace_over_atom::value);
  }

  void finish_drain() {
    if (std::exchange(drained_, true)) return;
    if (options_.on_drained) options_.on_drained();
  }

  caf::event_based_actor* self_;
  supervisor_options options_;
  restart_policy restarts_;
  replica replica_;
  std::uint64_t incarnation_ = 0;
  bool draining_ = false;
  bool drained_ = false;
  bool grace_over_ = false;
};

}  // namespace

caf::actor spawn_supervisor(caf::actor_system& system, const supervisor_options& options) {
  return spawn_actor<supervisor_state>(system, placement::pooled, options);
}

}  // namespace troupe
