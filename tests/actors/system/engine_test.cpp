// Engines on real threads and a tiny model: steps that fail change no token, engines come and go, a
// drain answers everything in its time, an idle engine costs no CPU, and a KV cache that does not
// fit says so. With TROUPE_TEST_MODEL set, the faults are also tried on that model.
#include "actors/wiring/engine.hpp"

#include <sys/resource.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

#include <catch2/catch.hpp>
#include <spdlog/spdlog.h>

#include "tests/actors/system/engine_client.hpp"
#include "tests/skip.hpp"

namespace troupe::test {
namespace {

using namespace std::chrono_literals;

/// Throws in the steps it is told to, counted over all replicas.
class failing_executor final : public step_executor {
 public:
  failing_executor(std::unique_ptr<step_executor> real, std::shared_ptr<std::atomic<int>> steps,
                   int every, int faults_max)
      : real_(std::move(real)), steps_(std::move(steps)), every_(every), faults_max_(faults_max) {}

  step_result execute(const step_plan& plan) override {
    const int step = ++*steps_;
    if (step % every_ == 0 && step / every_ <= faults_max_)
      throw std::runtime_error("an injected fault");
    return real_->execute(plan);
  }

 private:
  std::unique_ptr<step_executor> real_;
  std::shared_ptr<std::atomic<int>> steps_;
  int every_, faults_max_;
};

engine_hooks failing_every(int every, int faults_max) {
  auto steps = std::make_shared<std::atomic<int>>(0);
  engine_hooks hooks;
  hooks.wrap_executor = [=](std::unique_ptr<step_executor> real) -> std::unique_ptr<step_executor> {
    return std::make_unique<failing_executor>(std::move(real), steps, every, faults_max);
  };
  return hooks;
}

/// Each step waits until the test lets it pass.
class held_executor final : public step_executor {
 public:
  struct gate {
    std::mutex mutex;
    std::condition_variable opened;
    bool is_open = false;
    void open() {
      const std::lock_guard lock(mutex);
      is_open = true;
      opened.notify_all();
    }
  };

  held_executor(std::unique_ptr<step_executor> real, std::shared_ptr<gate> held)
      : real_(std::move(real)), held_(std::move(held)) {}

  step_result execute(const step_plan& plan) override {
    std::unique_lock lock(held_->mutex);
    held_->opened.wait(lock, [this] { return held_->is_open; });
    lock.unlock();
    return real_->execute(plan);
  }

 private:
  std::unique_ptr<step_executor> real_;
  std::shared_ptr<gate> held_;
};

server_config config_of(const std::string& model) {
  server_config config;
  config.model = model;
  config.max_model_len = 256;
  config.cpu_kv_cache_gib = 0.05;
  config.threads = 2;
  return config;
}

submit request_of(int number, std::int64_t max_tokens) {
  submit request;
  request.prompt_token_ids.emplace();
  for (int i = 0; i < 10 + number; ++i)
    request.prompt_token_ids->push_back(20 + (number * 7 + i) % 60);
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  request.seed = number;
  return request;
}

/// The tokens of some requests that run together.
std::vector<std::vector<std::int64_t>> tokens_under(const server_config& config,
                                                    const engine_hooks& hooks,
                                                    std::int64_t max_tokens) {
  auto running = engine::start(config, hooks).value();
  engine_client client(*running);
  running->open();
  for (int i = 0; i < 6; ++i) REQUIRE(client.submit(std::to_string(i), request_of(i, max_tokens)));
  std::vector<std::vector<std::int64_t>> tokens;
  for (int i = 0; i < 6; ++i) {
    const auto answer = client.wait_for(std::to_string(i));
    CHECK(answer.error_code == "");
    CHECK(answer.last_words == 1);
    tokens.push_back(answer.tokens);
    CHECK(tokens.back().size() == static_cast<std::size_t>(max_tokens));
  }
  running->drain(5s);
  return tokens;
}

const std::string tiny_model = TROUPE_SOURCE_DIR "/tests/models/tiny-llama.gguf";

TEST_CASE("steps that fail change no token") {
  spdlog::set_level(spdlog::level::off);
  for (const char* name : {"tiny-llama", "tiny-qwen3"}) {
    INFO(name);
    const auto config = config_of(std::string(TROUPE_SOURCE_DIR "/tests/models/") + name + ".gguf");
    const auto expected = tokens_under(config, {}, 40);
    for (const int every : {1, 2, 7}) {
      INFO("every " << every);
      // The first four or so steps hold the prompts, so that every == 1 also loses prefills.
      CHECK(tokens_under(config, failing_every(every, 5), 40) == expected);
    }
  }
}

TEST_CASE("steps that fail change no token of a real model") {
  const auto model = test::required_file("TROUPE_TEST_MODEL");
  if (!model) return;
  spdlog::set_level(spdlog::level::off);
  auto config = config_of(*model);
  config.cpu_kv_cache_gib = 0.2;
  CHECK(tokens_under(config, failing_every(3, 4), 12) == tokens_under(config, {}, 12));
}

TEST_CASE("an engine that fails too often answers everybody and says so once") {
  spdlog::set_level(spdlog::level::off);
  std::atomic<int> fatal_count{0};
  auto hooks = failing_every(1, 1'000'000);
  hooks.on_fatal = [&](std::string) { ++fatal_count; };
  auto running = engine::start(config_of(tiny_model), hooks).value();
  engine_client client(*running);
  running->open();
  for (int i = 0; i < 6; ++i) REQUIRE(client.submit(std::to_string(i), request_of(i, 20)));
  for (int i = 0; i < 6; ++i) CHECK(client.wait_for(std::to_string(i)).error_code == "internal");
  REQUIRE(client.submit("late", request_of(0, 20)));
  CHECK(client.wait_for("late").error_code == "internal");
  CHECK(running->state() == engine_state::dead);
  running.reset();
  CHECK(fatal_count == 1);
}

TEST_CASE("engines come and go in one process, with requests running at the end") {
  spdlog::set_level(spdlog::level::off);
  for (int round = 0; round < 3; ++round) {
    auto running = engine::start(config_of(tiny_model), {}).value();
    engine_client client(*running);
    running->open();
    REQUIRE(client.submit("short", request_of(1, 4)));
    CHECK(client.wait_for("short").tokens.size() == 4);
    for (int i = 0; i < 8; ++i)
      REQUIRE(client.submit("long-" + std::to_string(i), request_of(i, 200)));
    client.wait_for_tokens("long-0", 1);
    running.reset();  // ends by itself, whatever runs
  }
}

TEST_CASE("a drain with grace lets requests finish; what comes later is refused") {
  spdlog::set_level(spdlog::level::off);
  auto running = engine::start(config_of(tiny_model), {}).value();
  engine_client client(*running);
  CHECK_FALSE(client.submit("early", request_of(0, 4)));  // not open yet
  running->open();
  for (int i = 0; i < 4; ++i) REQUIRE(client.submit(std::to_string(i), request_of(i, 60)));
  running->drain(60s);
  for (int i = 0; i < 4; ++i) {
    const auto answer = client.answer(std::to_string(i));  // it is there: no wait
    CHECK(answer.last_words == 1);
    CHECK(answer.tokens.size() == 60);
  }
  CHECK(client.stopped());
  CHECK_FALSE(client.submit("late", request_of(0, 4)));
  running->drain(1s);  // again: nothing is left to do
}

TEST_CASE("a drain without grace aborts what runs and answers it") {
  spdlog::set_level(spdlog::level::off);
  auto held = std::make_shared<held_executor::gate>();
  engine_hooks hooks;
  hooks.wrap_executor =
      [held](std::unique_ptr<step_executor> real) -> std::unique_ptr<step_executor> {
    return std::make_unique<held_executor>(std::move(real), held);
  };
  auto running = engine::start(config_of(tiny_model), hooks).value();
  engine_client client(*running);
  running->open();
  for (int i = 0; i < 4; ++i) REQUIRE(client.submit(std::to_string(i), request_of(i, 200)));
  for (int i = 0; i < 4; ++i) client.wait_until_accepted(std::to_string(i));
  const auto began = std::chrono::steady_clock::now();
  running->drain(10ms);
  CHECK(std::chrono::steady_clock::now() - began < 10s);
  for (int i = 0; i < 4; ++i) {
    CHECK(client.answer(std::to_string(i)).error_code == "unavailable");
    CHECK(client.answer(std::to_string(i)).last_words == 1);
  }
  held->open();
}

TEST_CASE("an idle engine uses no CPU") {
  spdlog::set_level(spdlog::level::off);
  auto running = engine::start(config_of(tiny_model), {}).value();
  engine_client client(*running);
  running->open();
  REQUIRE(client.submit("warm", request_of(0, 4)));
  client.wait_for("warm");
  const auto cpu_time = [] {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    const auto of = [](const timeval& time) {
      return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
    };
    return of(used.ru_utime) + of(used.ru_stime);
  };
  // Pages of the KV cache are handed out in the background after the start, and threads that just
  // ended their work wind down: one span of several has to be idle.
  auto used = 10s + 0us;
  for (int i = 0; i < 5 && used > 60ms; ++i) {
    const auto before = cpu_time();
    std::this_thread::sleep_for(2s);  // the span that is measured
    used = cpu_time() - before;
  }
  CHECK(used < 60ms);  // 3 %
}

TEST_CASE("an impossible configuration is an error, not the end of the process") {
  auto config = config_of(tiny_model);
  config.max_num_batched_tokens = 16;
  config.max_num_seqs = 32;
  const auto refused = engine::start(config, {});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.failure().message.find("max_num_batched_tokens") != std::string::npos);

  config = config_of(tiny_model);
  config.max_model_len = 1u << 20;
  const auto too_long = engine::start(config, {});
  REQUIRE_FALSE(too_long.has_value());
  CHECK(too_long.failure().message.find("max_model_len") != std::string::npos);
}

TEST_CASE("the KV cache's size, and what is said when it does not fit") {
  const auto layout = kernels::kv_layout{};
  server_config config;
  constexpr std::uint64_t gib = std::uint64_t{1} << 30;
  kernels::kv_layout sized = layout;
  sized.block_tokens = 16;
  sized.kv_head_count = 8;
  sized.head_dim = 128;
  const std::uint64_t block_bytes = sized.block_bytes() * 32;
  REQUIRE(block_bytes != 0);

  // By default a quarter of the free memory, at most 1 GiB, and at least one full sequence.
  CHECK(kv_block_count(config, sized, 32, 1024, 64 * gib).value() == gib / block_bytes);
  CHECK(kv_block_count(config, sized, 32, 1024, 2 * gib).value() == gib / 2 / block_bytes);
  CHECK(kv_block_count(config, sized, 32, 16384, 64 * gib).value() == 16384 / 16);

  const auto too_big = kv_block_count(config, sized, 32, 131072, 2 * gib);
  REQUIRE_FALSE(too_big.has_value());
  CHECK(too_big.failure().code == errc::out_of_memory);
  CHECK(too_big.failure().message.find("2.00 GiB") != std::string::npos);
  CHECK(too_big.failure().message.find("max_model_len") != std::string::npos);

  config.cpu_kv_cache_gib = 0.1;
  const auto too_small = kv_block_count(config, sized, 32, 131072, 64 * gib);
  REQUIRE_FALSE(too_small.has_value());
  CHECK(too_small.failure().message.find("cpu_kv_cache_gib is 0.10") != std::string::npos);
}

}  // namespace
}  // namespace troupe::test
