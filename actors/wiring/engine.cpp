#include "actors/wiring/engine.hpp"

#include <atomic>
#include <fstream>
#include <future>
#include <random>
#include <stdexcept>
#include <thread>

#include <caf/all.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "actors/composer/composer.hpp"
#include "actors/gateway/gateway.hpp"
#include "actors/gateway/tokenizer_threads.hpp"
#include "actors/kv_pool/kv_pool.hpp"
#include "actors/router/router.hpp"
#include "actors/scheduler/scheduler.hpp"
#include "actors/supervisor/supervisor.hpp"
#include "actors/worker/worker.hpp"
#include "config/limits.hpp"
#include "kernels/attention/kv_dtype_name.hpp"
#include "runtime/execute/model_executor.hpp"
#include "runtime/schedule/configured_limits.hpp"
#include "runtime/storage/memory_kv_store.hpp"

namespace troupe {

namespace {

// Priorities of threads (design, section 3): scheduler, router and I/O 0, pool 2, tokenizers 5,
// compute 10.
constexpr int pool_nice = 2;
constexpr int tokenizer_nice = 5;
constexpr std::size_t pool_threads = 2;
constexpr std::size_t tokenizer_thread_count = 2;

/// Lowers the priority of the threads that CAF starts with the system. Those of detached actors
/// come later.
class pool_priority final : public caf::thread_hook {
 public:
  void init(caf::actor_system&) override {}
  void thread_started() override {
    if (started_.fetch_add(1) < pool_threads) set_thread_nice(pool_nice);
  }
  void thread_terminates() override {}

 private:
  std::atomic<std::size_t> started_{0};
};

caf::actor_system_config& configure(caf::actor_system_config& config) {
  config.set("scheduler.policy", caf::atom("sharing"));
  config.set("scheduler.max-threads", pool_threads);
  config.set("scheduler.max-throughput", std::size_t{50});
  config.add_thread_hook<pool_priority>();
  return config;
}

/// MemAvailable of /proc/meminfo.
std::uint64_t free_memory_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  std::uint64_t kib = 0;
  while (file >> key >> kib) {
    std::getline(file, unit);
    if (key == "MemAvailable:") return kib * 1024;
  }
  return 0;
}

std::size_t compute_thread_count(const server_config& config) {
  if (config.threads != 0) return config.threads;
  return std::max<std::size_t>(1, std::thread::hardware_concurrency());
}

std::array<std::uint32_t, lane_count> lane_credits(const server_config& config) {
  std::array<std::uint32_t, lane_count> credits{};
  for (const lane service : all_lanes) {
    const std::uint32_t own = config.lanes[to_index(service)].max_queued;
    credits[to_index(service)] = own != 0 ? own : config.max_num_queued_reqs;
  }
  return credits;
}

/// What is computed from configuration and model before any actor starts.
struct sizing {
  executor_options executor;
  scheduler_limits limits;
  request_bounds bounds;
  std::size_t block_bytes = 0;    ///< in all layers
  std::size_t offload_bytes = 0;  ///< host memory below the device; 0: no such tier
};

result<sizing> size_engine(const server_config& config, const loaded_model& model) {
  sizing sized;
  const model_description& shape = model.description;
  const auto trained = static_cast<std::uint32_t>(shape.context_length);
  if (config.max_model_len > trained)
    return error{errc::invalid_argument,
                 fmt::format("max_model_len {} is more than the model's context of {} tokens",
                             config.max_model_len, trained)};
  const std::uint32_t max_model_len = config.max_model_len != 0 ? config.max_model_len : trained;
  TROUPE_TRY(const auto kv_type,
             kernels::parse_kv_dtype(config.kv_cache_dtype, model.weights.instruction_set()));
  TROUPE_TRY(sized.executor.layout, kv_layout_for(shape, kv_type, config.block_size));
  const std::uint64_t free_bytes = free_memory_bytes();
  TROUPE_TRY(sized.offload_bytes, kv_offload_bytes(config, free_bytes));
  TROUPE_TRY(const std::uint32_t blocks,
             kv_block_count(config, sized.executor.layout, shape.layer_count, max_model_len,
                            free_bytes - sized.offload_bytes));
  sized.block_bytes = sized.executor.layout.block_bytes() * shape.layer_count;
  sized.executor.threads = {.thread_count = compute_thread_count(config),
                            .nice = config.compute_nice};
  sized.executor.block_count = blocks;
  sized.executor.max_tokens_per_step = config.max_num_batched_tokens;

  sized.limits = configured_limits(config);
  sized.limits.max_model_len = max_model_len;
  sized.limits.first_part_tokens_min = limits::cpu_first_part_tokens_min;
  // The gates bound what waits, lane by lane; beside it come running requests, after preemptions
  // and restarts.
  std::uint64_t queued_max = std::uint64_t{config.max_num_seqs} * lane_count;
  for (const std::uint32_t credits : lane_credits(config)) queued_max += credits;
  sized.limits.max_num_queued_reqs =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(queued_max, limits::num_queued_reqs_max));
  sized.limits.block_count = blocks;
  sized.limits.enable_offload = sized.offload_bytes != 0;
  sized.limits.initial_transfer = transfer_profile_of(sized.block_bytes);
  sized.limits.model_fingerprint =
      model.fingerprint ^ static_cast<std::uint64_t>(sized.executor.layout.type);
  sized.limits.end_of_generation = model.tokens->end_of_generation();
  TROUPE_TRY_VOID(check_limits(sized.limits));

  sized.bounds.max_model_len = max_model_len;
  sized.bounds.vocab_size = shape.vocab_size;
  sized.bounds.served_model_name = config.served_model_name;
  return sized;
}

class wired_engine final : public engine {
 public:
  wired_engine(const server_config& config, const engine_hooks& hooks,
               std::shared_ptr<const loaded_model> model, const sizing& sized)
      : config_(config),
        hooks_(hooks),
        model_(std::move(model)),
        measured_(std::make_shared<metrics>(config.served_model_name, sized.limits.max_model_len,
                                            service_terms{config.lanes, config.price_per_hour})),
        tenants_(std::make_shared<tenancy>(config, steady_now())),
        status_(std::make_shared<engine_status>()),
        watch_(std::make_shared<step_watch>()),
        prompts_(std::make_shared<const intake>(model_->tokens, model_->chat, sized.bounds)),
        gate_(std::make_shared<admission_gate>(lane_credits(config), limits::preparing_bytes_max)),
        ports_(std::make_shared<port_table>()),
        tokenizers_(tokenizer_thread_count, tokenizer_nice),
        system_(configure(system_config_)) {
    wire(sized);
  }

  ~wired_engine() override { shut_down(); }

  result<client_port*> add_port(
      const std::function<result<std::unique_ptr<client_port>>(const port_services&)>& make)
      override {
    const std::size_t index = owned_ports_.size();
    TROUPE_CHECK(index < ports_->size());
    TROUPE_TRY(auto port, make({static_cast<std::uint32_t>(index), link_.get(), &tokenizers_,
                                prompts_.get(), measured_.get(), status_.get(), tenants_.get()}));
    (*ports_)[index].store(port.get(), std::memory_order_release);
    owned_ports_.push_back(std::move(port));
    return owned_ports_.back().get();
  }

  void open() override { gate_->open(); }

  void drain(std::chrono::milliseconds grace, const std::function<bool()>& is_over) override {
    gate_->close();
    caf::anon_send(supervisor_, begin_drain{grace});
    // The supervisor answers within the grace time and the second it allows for the last replies.
    constexpr std::chrono::milliseconds poll{limits::drain_poll_ms}, last_replies_max{3000};
    auto give_up_at = steady_now() + grace + last_replies_max;
    while (drained_future_.wait_for(poll) == std::future_status::timeout &&
           steady_now() < give_up_at) {
      if (!is_over || !is_over()) continue;
      caf::anon_send(supervisor_, begin_drain{std::chrono::milliseconds{0}});
      give_up_at = steady_now() + last_replies_max;
    }
    for (const auto& port : owned_ports_) port->stop(std::chrono::milliseconds{1000});
  }

  std::chrono::nanoseconds step_running_for() const override {
    return watch_->running_for(steady_now());
  }
  engine_state state() const override { return status_->get(); }
  const loaded_model& model() const override { return *model_; }
  const intake& prompts() const override { return *prompts_; }
  metrics& measured() override { return *measured_; }
  caf::actor_system& system() override { return system_; }

 private:
  /// Puts the actors together. Reading this is reading the architecture.
  void wire(const sizing& sized) {
    const caf::actor router =
        spawn_router(system_, {model_->tokens, measured_, tenants_,
                               std::chrono::milliseconds{config_.resume_ms_max}, steady_now,
                               placement::detached});
    gateway_ =
        spawn_gateway(system_, {router, gate_, prompts_, &tokenizers_, ports_, measured_, tenants_,
                                steady_now, std::random_device{}(), placement::detached});
    link_ = make_link({gateway_, gate_, measured_, tenants_, steady_now});

    std::vector<caf::actor> essential{router, gateway_};
    long_lived_ = {gateway_, router};
    caf::actor kv_pool;
    if (sized.offload_bytes != 0) {
      const auto make_store = [bytes = sized.offload_bytes] {
        return std::make_unique<memory_kv_store>(bytes);
      };
      kv_pool = spawn_kv_pool(system_, {make_store, sized.block_bytes, placement::pooled});
      essential.push_back(kv_pool);
      long_lived_.push_back(kv_pool);
    }

    caf::actor composer;
    if (config_.lanes[async_lane].compose_ms_max != 0) {
      composer = spawn_composer(
          system_, {std::chrono::milliseconds{config_.lanes[async_lane].compose_ms_max},
                    {},
                    steady_now,
                    thread_cpu_time,
                    config_.compute_nice,
                    placement::detached});
      long_lived_.push_back(composer);
    }

    const auto make_replica = [this, sized, router, kv_pool, composer](caf::actor_system& system,
                                                                       std::uint64_t incarnation) {
      replica made;
      made.worker = spawn_worker(system, {executor_factory_for(sized.executor),
                                          config_.compute_nice, placement::detached});
      made.scheduler =
          spawn_scheduler(system, {sized.limits, incarnation, router, made.worker, measured_,
                                   watch_, steady_now, placement::detached, kv_pool, composer});
      return made;
    };
    supervisor_ =
        spawn_supervisor(system_, {router, gateway_, essential, make_replica, status_,
                                   hooks_.on_fatal, [this] { drained_.set_value(); }, steady_now});
    long_lived_.insert(long_lived_.begin(), supervisor_);
  }

  executor_factory executor_factory_for(const executor_options& options) const {
    return [model = model_, options, wrap = hooks_.wrap_executor] {
      auto made = model_executor::create(model, options);
      if (!made) throw std::runtime_error(made.failure().message);
      return wrap ? wrap(std::move(*made)) : std::move(*made);
    };
  }

  void shut_down() {
    gate_->close();
    for (const auto& port : owned_ports_) port->stop(std::chrono::milliseconds{0});
    for (const auto& actor : long_lived_)
      caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
    long_lived_.clear();
    supervisor_ = nullptr;
    gateway_ = nullptr;
    link_.reset();
    // What is left are request actors: nobody feeds them any more.
    system_.registry().await_running_count_equal(0);
  }

  server_config config_;
  engine_hooks hooks_;
  std::shared_ptr<const loaded_model> model_;
  std::shared_ptr<metrics> measured_;
  std::shared_ptr<tenancy> tenants_;
  std::shared_ptr<engine_status> status_;
  std::shared_ptr<step_watch> watch_;
  std::shared_ptr<const intake> prompts_;
  std::shared_ptr<admission_gate> gate_;
  port_list ports_;
  std::vector<std::unique_ptr<client_port>> owned_ports_;
  tokenizer_threads tokenizers_;
  std::promise<void> drained_;
  std::shared_future<void> drained_future_ = drained_.get_future().share();
  caf::actor_system_config system_config_;
  caf::actor_system system_;
  caf::actor gateway_, supervisor_;
  std::vector<caf::actor> long_lived_;
  std::unique_ptr<gateway_link> link_;
};

}  // namespace

result<std::unique_ptr<engine>> engine::start(const server_config& config,
                                              const engine_hooks& hooks) {
  TROUPE_TRY(const isa set, parse_isa(config.isa));
  thread_pool loaders({.thread_count = compute_thread_count(config)});
  TROUPE_TRY(auto model, loaded_model::load(config.model, set, loaders, hooks.on_loading));
  return start(config, hooks, std::move(model));
}

result<std::unique_ptr<engine>> engine::start(const server_config& config,
                                              const engine_hooks& hooks,
                                              std::shared_ptr<const loaded_model> model) {
  server_config named = config;
  if (named.served_model_name.empty())
    named.served_model_name = std::filesystem::path(config.model).stem().string();
  TROUPE_TRY(const sizing sized, size_engine(named, *model));
  return std::unique_ptr<engine>(
      std::make_unique<wired_engine>(named, hooks, std::move(model), sized));
}

}  // namespace troupe
