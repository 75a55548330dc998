// Proves the way of blocks between the scheduler and the kv_pool, on real actors with the test in
// the place of router and worker: evicted blocks reach the pool and come back in a later plan; a
// pool that never answers costs its deadline and nothing else; a cancel while fetching ends the
// request; a pool that does not take blocks is sent no more than its credit; a preempted request's
// blocks are asked for behind those that it just lost, generated tokens included.
#include <catch2/catch.hpp>

#include "actors/base/messages.hpp"
#include "actors/kv_pool/kv_pool.hpp"
#include "actors/scheduler/scheduler.hpp"
#include "config/limits.hpp"
#include "runtime/storage/memory_kv_store.hpp"

using namespace troupe;

namespace {

constexpr std::uint32_t block_tokens = 4;
constexpr std::size_t block_size = 64;
constexpr std::chrono::seconds wait_max{30};

std::vector<token_id> prompt_of(int seed, std::size_t count) {
  std::vector<token_id> prompt;
  for (std::size_t i = 0; i < count; ++i)
    prompt.push_back(static_cast<token_id>(seed * 1000 + static_cast<int>(i)));
  return prompt;
}

/// The scheduler under test; this object is its worker and router, and its kv_pool where told so.
class scheduler_probe {
 public:
  explicit scheduler_probe(bool is_pool) : is_pool_(is_pool) {
    config_.set("scheduler.max-threads", std::size_t{2});
    system_ = std::make_unique<caf::actor_system>(config_);
    self_ = std::make_unique<caf::scoped_actor>(*system_);
    const auto make_store = [] { return std::make_unique<memory_kv_store>(std::size_t{1} << 20); };
    pool_ = is_pool ? caf::actor_cast<caf::actor>(*self_)
                    : spawn_kv_pool(*system_, {make_store, block_size, placement::pooled});
    scheduler_options options;
    options.limits.max_model_len = 64;
    options.limits.max_num_seqs = 4;
    options.limits.block_tokens = block_tokens;
    options.limits.block_count = 8;
    options.limits.enable_offload = true;
    options.router = options.worker = caf::actor_cast<caf::actor>(*self_);
    options.measured = std::make_shared<metrics>("test");
    options.watch = std::make_shared<step_watch>();
    options.where = placement::pooled;
    options.kv_pool = pool_;
    measured = options.measured;
    scheduler_ = spawn_scheduler(*system_, options);
  }
  ~scheduler_probe() {
    caf::anon_send_exit(scheduler_, caf::exit_reason::user_shutdown);
    if (!is_pool_) caf::anon_send_exit(pool_, caf::exit_reason::user_shutdown);
    scheduler_ = pool_ = nullptr;
    self_.reset();
  }

  /// Where one token is asked for, a request is one step if its prompt fits into it.
  void enqueue(std::uint64_t id, std::vector<token_id> prompt, std::uint32_t max_tokens = 1) {
    request_ticket ticket;
    ticket.id = static_cast<request_id>(id);
    ticket.tenant = "tenant";
    ticket.prompt = std::make_shared<const std::vector<token_id>>(std::move(prompt));
    generation_params params;
    params.stopping.max_tokens = max_tokens;
    ticket.params = std::make_shared<const generation_params>(params);
    (*self_)->send(scheduler_, enqueue_request{std::make_shared<const request_ticket>(ticket), {}});
  }
  /// As the kv_pool.
  void answer(const find_blocks& question, std::vector<offered_block> blocks) {
    (*self_)->send(scheduler_, blocks_found{question.sequence, std::move(blocks)});
  }
  void cancel(std::uint64_t id) {
    (*self_)->send(scheduler_, cancel_scheduled{static_cast<request_id>(id)});
  }

  /// The next message of this type; others stay where they are.
  template <class Message>
  Message next() {
    std::optional<Message> got;
    (*self_)->receive([&](const Message& message) { got = message; },
                      caf::after(wait_max) >> [] {});
    REQUIRE(got);
    return *got;
  }
  std::shared_ptr<const step_plan> next_plan() { return next<execute_step>().plan; }

  /// Executes a plan: an evicted block's bytes are those of its first token.
  void finish(const step_plan& plan) {
    step_result result;
    result.id = plan.id;
    for (const auto& order : plan.offloads) {
      result.offloaded.push_back(
          {order.key, std::make_shared<const std::vector<std::byte>>(
                          block_size, static_cast<std::byte>(order.key->tokens()[0]))});
    }
    for (const auto& slice : plan.slices) {
      slice_result done;
      if (slice.sample) done.sampled.push_back({token_id{1}, 0.0f, 0, {}});
      result.slices.push_back(std::move(done));
    }
    (*self_)->send<caf::message_priority::high>(
        scheduler_, step_done{std::make_shared<const step_result>(std::move(result))});
    while (next<step_updates>().updates.empty()) {
    }
  }
  void run(std::uint64_t id, std::vector<token_id> prompt) {
    enqueue(id, std::move(prompt));
    finish(*next_plan());
  }

  [[nodiscard]] bool is_silent() {
    bool silent = false;
    (*self_)->receive(
        caf::others >>
            [](caf::message_view&) -> caf::result<caf::message> { return caf::message{}; },
        caf::after(std::chrono::milliseconds{3 * limits::kv_fetch_ms_max}) >>
            [&] { silent = true; });
    return silent;
  }

  std::shared_ptr<metrics> measured;

 private:
  bool is_pool_;
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  std::unique_ptr<caf::scoped_actor> self_;
  caf::actor pool_, scheduler_;
};

}  // namespace

TEST_CASE("evicted blocks come back from the kv_pool", "[kv_pool]") {
  scheduler_probe probe(false);
  const auto prompt = prompt_of(1, 17);
  probe.run(1, prompt);
  for (int i = 2; i < 6; ++i) probe.run(static_cast<std::uint64_t>(i), prompt_of(i, 25));
  probe.enqueue(9, prompt);
  const auto plan = probe.next_plan();
  REQUIRE(plan->uploads.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    REQUIRE(plan->uploads[i].bytes->size() == block_size);
    REQUIRE(plan->uploads[i].bytes->at(0) == static_cast<std::byte>(prompt[i * block_tokens]));
  }
  REQUIRE(plan->token_count() == 1);
  probe.finish(*plan);
  REQUIRE(probe.measured->values().at("kv_offload_hit_blocks_total") == 4.0);
  REQUIRE(probe.measured->values().at("kv_offload_stored_blocks_total") >= 4.0);
}

TEST_CASE("a kv_pool that never answers costs its deadline", "[kv_pool]") {
  scheduler_probe probe(true);
  const auto began = std::chrono::steady_clock::now();
  probe.enqueue(1, prompt_of(1, 17));
  REQUIRE(probe.next<find_blocks>().keys->size() == 4);
  const auto plan = probe.next_plan();
  REQUIRE(std::chrono::steady_clock::now() - began >=
          std::chrono::milliseconds{limits::kv_fetch_ms_max});
  REQUIRE(plan->token_count() == 17);
  probe.finish(*plan);
  // A prompt without a full block, and one that the device has, are not asked about.
  probe.run(2, prompt_of(2, 4));
  probe.run(3, prompt_of(1, 17));
  REQUIRE(probe.is_silent());
}

TEST_CASE("a cancel while blocks are fetched ends the request", "[kv_pool]") {
  scheduler_probe probe(true);
  probe.enqueue(1, prompt_of(1, 17));
  probe.next<find_blocks>();
  probe.cancel(1);
  REQUIRE(probe.is_silent());
}

TEST_CASE("a kv_pool that takes nothing is sent no more than its credit", "[kv_pool]") {
  scheduler_probe probe(true);
  for (std::uint64_t id = 1; id < 4 * limits::kv_stores_max; ++id) {
    probe.enqueue(id, prompt_of(static_cast<int>(id), 25));
    probe.next<find_blocks>();
    probe.finish(*probe.next_plan());
  }
  for (std::size_t i = 0; i < limits::kv_stores_max; ++i) {
    REQUIRE(!probe.next<store_blocks>().blocks->empty());
  }
  REQUIRE(probe.is_silent());
}

TEST_CASE("a preempted request is asked for, and its blocks come back", "[kv_pool]") {
  scheduler_probe probe(true);
  probe.enqueue(3, prompt_of(3, 3));
  auto plan = probe.next_plan();
  // Both begin in the same step: the question of the fourth comes behind what was told before.
  probe.enqueue(1, prompt_of(1, 9), 12);
  probe.answer(probe.next<find_blocks>(), {});
  probe.enqueue(2, prompt_of(2, 9), 20);
  probe.answer(probe.next<find_blocks>(), {});
  probe.enqueue(4, prompt_of(4, 9));
  probe.next<find_blocks>();
  probe.cancel(4);
  // Eight blocks of four: the ninth is taken from the second request.
  while (plan->offloads.empty()) {
    probe.finish(*plan);
    plan = probe.next_plan();
  }
  REQUIRE(plan->slices.size() == 1);
  probe.finish(*plan);
  const auto stored = probe.next<store_blocks>();
  REQUIRE(stored.blocks->size() == 1);
  const auto question = probe.next<find_blocks>();
  REQUIRE(question.sequence == sequence_id{request_id{2}, 0});
  REQUIRE(question.keys->size() == 4);  // two of them the prompt's
  REQUIRE(*question.keys->back() == *stored.blocks->at(0).key);
  probe.answer(question, {{3, question.keys->back(), stored.blocks->at(0).bytes}});
  do {
    plan = probe.next_plan();
    probe.finish(*plan);
  } while (plan->uploads.empty());
  REQUIRE(plan->uploads.size() == 1);
  REQUIRE(plan->slices.at(0).sequence.request == request_id{2});
  REQUIRE(plan->slices.at(0).position_first == 16);
}
