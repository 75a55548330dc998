#include "tests/actors/system/world.hpp"

#include <algorithm>
#include <deque>

#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include "actors/gateway/gateway.hpp"
#include "actors/router/router.hpp"
#include "actors/scheduler/scheduler.hpp"
#include "actors/supervisor/supervisor.hpp"
#include "actors/worker/worker.hpp"

namespace troupe::test {

namespace {

caf::actor_system_config& on_test_coordinator(caf::actor_system_config& config) {
  config.set("scheduler.policy", caf::atom("testing"));
  return config;
}

class recording_port final : public client_port {
 public:
  explicit recording_port(std::function<void(const outbound&)> on_event)
      : on_event_(std::move(on_event)) {}
  void deliver(std::vector<outbound> burst) override {
    for (const outbound& event : burst) {
      if (on_event_) on_event_(event);
    }
  }
  void stop(std::chrono::milliseconds) override {}

 private:
  std::function<void(const outbound&)> on_event_;
};

/// Prompts wait here for their turn, as they do behind busy tokenizer threads.
class waiting_jobs final : public job_pool {
 public:
  void post(lane, std::function<void()> job) override { jobs.push_back(std::move(job)); }
  std::deque<std::function<void()>> jobs;
};

/// Read once: the tests make hundreds of worlds.
std::shared_ptr<const tokenizer> tiny_vocabulary() {
  static const auto read =
      tokenizer::from_gguf(
          gguf_file::open(TROUPE_SOURCE_DIR "/tests/models/tiny-llama.gguf").value())
          .value();
  return read;
}

/// Takes the job at `index` before the others.
template <class Job>
void bring_forward(std::deque<Job>& jobs, std::size_t index) {
  const auto place = jobs.begin() + static_cast<std::ptrdiff_t>(index);
  std::rotate(jobs.begin(), place, place + 1);
}

}  // namespace

struct world::state {
  explicit state(world_options given)
      : options(std::move(given)),
        vocabulary(tiny_vocabulary()),
        dice(options.seed),
        port(options.on_event),
        system(on_test_coordinator(config)),
        scheduler(dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler())) {
    options.limits.end_of_generation = vocabulary->end_of_generation();
    prompts = std::make_shared<const intake>(
        vocabulary, nullptr,
        request_bounds{options.limits.max_model_len, vocabulary->vocab_size(), "hash"});
    tenants =
        std::make_shared<tenancy>(options.tenants, scheduler.clock().now().time_since_epoch());
    gate = std::make_shared<admission_gate>(options.credits, std::uint64_t{1} << 20);
    (*ports)[0].store(&port);
    wire();
    gate->open();
  }

  void wire() {
    const clock_source now = [this] { return scheduler.clock().now().time_since_epoch(); };
    router = spawn_router(
        system, {vocabulary, measured, tenants, std::chrono::seconds{30}, now, placement::pooled});
    gateway = spawn_gateway(system, {router, gate, prompts, &jobs, ports, measured, tenants, now, 1,
                                     placement::pooled});
    link = make_link({gateway, gate, measured, tenants, now});
    const auto make_replica = [this, now](caf::actor_system& in, std::uint64_t incarnation) {
      const auto make_executor = [this] {
        return std::make_unique<hash_executor>(vocabulary, options.limits, options.before_step);
      };
      newest.worker = spawn_worker(in, {make_executor, 0, placement::pooled});
      newest.scheduler = spawn_scheduler(in, {options.limits, incarnation, router, newest.worker,
                                              measured, watch, now, placement::pooled});
      ++replica_count;
      return newest;
    };
    supervisor = spawn_supervisor(
        system, {router,
                 gateway,
                 {router, gateway},
                 make_replica,
                 status,
                 [this](std::string reason) { fatal_reasons.push_back(std::move(reason)); },
                 [this] { drained = true; },
                 now});
  }

  /// An actor takes some messages at a time, as in production: with one at a time, those that are
  /// not urgent would starve (CAF begins each turn with the urgent ones).
  static constexpr std::uint64_t messages_max = 8;
  void run_front(std::uint64_t message_count) {
    caf::resumable* job = scheduler.jobs.front();
    scheduler.jobs.pop_front();
    caf::scoped_execution_unit unit{&system};
    const auto outcome = job->resume(&unit, message_count);
    if (outcome == caf::resumable::resume_later) return scheduler.jobs.push_front(job);
    if (outcome != caf::resumable::shutdown_execution_unit) caf::intrusive_ptr_release(job);
  }

  bool step() {
    const std::size_t runnable = scheduler.jobs.size() + jobs.jobs.size();
    if (runnable == 0) return false;
    std::size_t chosen = dice() % runnable;
    if (chosen < scheduler.jobs.size()) {
      bring_forward(scheduler.jobs, chosen);
      run_front(1 + dice() % messages_max);
      return true;
    }
    bring_forward(jobs.jobs, chosen - scheduler.jobs.size());
    const auto job = std::move(jobs.jobs.front());
    jobs.jobs.pop_front();
    job();
    return true;
  }

  std::size_t stop() {
    for (const auto& actor : {supervisor, gateway, router}) {
      if (actor) caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
    }
    supervisor = gateway = router = nullptr;
    newest = {};
    link.reset();
    while (step()) {
    }
    return system.registry().running();
  }

  world_options options;
  std::shared_ptr<const tokenizer> vocabulary;
  std::mt19937_64 dice;
  recording_port port;
  waiting_jobs jobs;
  std::shared_ptr<metrics> measured = std::make_shared<metrics>("hash");
  std::shared_ptr<tenancy> tenants;
  std::shared_ptr<engine_status> status = std::make_shared<engine_status>();
  std::shared_ptr<step_watch> watch = std::make_shared<step_watch>();
  port_list ports = std::make_shared<port_table>();
  std::shared_ptr<const intake> prompts;
  std::shared_ptr<admission_gate> gate;
  bool drained = false;
  std::vector<std::string> fatal_reasons;
  std::uint64_t replica_count = 0;
  caf::actor_system_config config;
  caf::actor_system system;
  caf::scheduler::test_coordinator& scheduler;
  caf::actor router, gateway, supervisor;
  replica newest;
  std::unique_ptr<gateway_link> link;
};

world::world(world_options options) : state_(std::make_unique<state>(std::move(options))) {}
world::~world() {
  state_->stop();
}

gateway_link& world::link() {
  return *state_->link;
}
admission_gate& world::gate() {
  return *state_->gate;
}
engine_status& world::status() {
  return *state_->status;
}
step_watch& world::watch() {
  return *state_->watch;
}
tenancy& world::tenants() {
  return *state_->tenants;
}
metrics& world::measured() {
  return *state_->measured;
}
const intake& world::prompts() {
  return *state_->prompts;
}
std::shared_ptr<const tokenizer> world::vocabulary() {
  return state_->vocabulary;
}
std::mt19937_64& world::dice() {
  return state_->dice;
}
bool world::step() {
  return state_->step();
}
void world::settle() {
  while (step()) {
  }
}
void world::advance(std::chrono::nanoseconds time) {
  state_->scheduler.advance_time(time);
}
void world::drain(std::chrono::milliseconds grace) {
  gate().close();
  caf::anon_send(state_->supervisor, begin_drain{grace});
}
void world::kill(half which) {
  const auto& victim = which == half::worker ? state_->newest.worker : state_->newest.scheduler;
  caf::anon_send_exit(victim, caf::exit_reason::unhandled_exception);
}
bool world::is_drained() const {
  return state_->drained;
}
const std::vector<std::string>& world::fatal_reasons() const {
  return state_->fatal_reasons;
}
std::uint64_t world::replica_count() const {
  return state_->replica_count;
}
std::size_t world::stop() {
  return state_->stop();
}

}  // namespace troupe::test
