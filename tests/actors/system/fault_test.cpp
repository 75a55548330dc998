// Single faults on the test coordinator: a replica that fails too often, both halves dying
// together, a cancel or a lost connection right behind its request, a resume while a prompt is
// prepared, drains with and without grace, and what arrives after the end.
#include <map>

#include <catch2/catch.hpp>
#include <spdlog/spdlog.h>

#include "actors/supervisor/restart_policy.hpp"
#include "config/limits.hpp"
#include "tests/actors/system/readers.hpp"

namespace troupe::test {
namespace {

using namespace std::chrono_literals;

struct scene {
  explicit scene(std::uint64_t seed, hash_executor::step_hook before_step = {})
      : in(options_for(seed, std::move(before_step))) {
    spdlog::set_level(spdlog::level::off);
  }

  world_options options_for(std::uint64_t seed, hash_executor::step_hook before_step) {
    world_options options;
    options.seed = seed;
    options.limits.max_model_len = 256;
    options.limits.block_count = 256;
    options.before_step = std::move(before_step);
    options.on_event = [this](const outbound& event) { clients.take(event); };
    return options;
  }

  reader& submit(const std::string& id, std::int64_t max_tokens = 8, bool resumable = false,
                 lane service = lane::realtime) {
    troupe::submit request;
    request.prompt_token_ids = {5, 6, 7};
    request.seed = 7;
    request.max_tokens = max_tokens;
    request.ignore_eos = true;
    envelope_header header;
    header.request_id = id;
    header.service = service;
    reader* made = clients.submit(in, request, header, resumable, "tenant");
    REQUIRE(made != nullptr);
    return *made;
  }

  std::string error_code(const reader& client) const {
    if (!client.last_word) return "none";
    const auto* failure = std::get_if<error_reply>(&*client.last_word);
    return failure != nullptr ? failure->code : "finished";
  }

  readers clients;
  world in;
};

constexpr std::uint64_t seed_count = 20;

TEST_CASE("restarts are counted in a sliding window") {
  restart_policy policy(2, 10s);
  CHECK(policy.allow(0s));
  CHECK(policy.allow(5s));
  CHECK_FALSE(policy.allow(6s));
  CHECK(policy.allow(11s));
  CHECK_FALSE(policy.allow(12s));
}

TEST_CASE("a replica that fails too often ends the engine, and every request is answered") {
  for (std::uint64_t seed = 1; seed <= seed_count; ++seed) {
    INFO("seed " << seed);
    scene on(seed, [](const step_plan&) { throw std::runtime_error("always"); });
    std::vector<reader*> asked;
    for (int i = 0; i < 6; ++i) asked.push_back(&on.submit("early-" + std::to_string(i)));
    on.in.settle();
    for (const reader* client : asked) CHECK(on.error_code(*client) == "internal");
    CHECK(on.in.replica_count() == limits::replica_restarts_max + 1);
    CHECK(on.in.fatal_reasons().size() == 1);
    CHECK(on.in.status().get() == engine_state::dead);
    // The gate of a dead engine may still be open: its process is about to end.
    const reader& late = on.submit("late");
    on.in.settle();
    CHECK(on.error_code(late) == "internal");
    CHECK(on.in.gate().credits(lane::realtime) == 64);
    on.in.drain(1s);
    on.in.settle();
    CHECK(on.in.is_drained());
    CHECK(on.in.stop() == 0);
  }
}

TEST_CASE("failures that lie apart never end the engine") {
  int steps = 0;
  scene patient(3, [&](const step_plan&) {
    if (++steps % 4 == 0) {
      patient.in.advance(30s);
      throw std::runtime_error("now and then");
    }
  });
  const reader& lucky = patient.submit("long", 60);
  patient.in.settle();
  CHECK(patient.in.replica_count() > limits::replica_restarts_max + 1);
  patient.clients.check_outcome(lucky);
}

TEST_CASE("both halves of a replica may die together") {
  for (std::uint64_t seed = 1; seed <= seed_count; ++seed) {
    INFO("seed " << seed);
    scene on(seed);
    const reader& client = on.submit("request", 40);
    for (int i = 0; i < 60; ++i) on.in.step();
    on.in.kill(world::half::worker);
    on.in.kill(world::half::scheduler);
    on.in.settle();
    CHECK(on.in.fatal_reasons().empty());
    CHECK(on.in.replica_count() == 2);
    on.clients.check_outcome(client);
    CHECK(on.error_code(client) == "finished");
  }
}

TEST_CASE("a step that died with its replica is not watched any longer") {
  scene on(1, [first = true](const step_plan&) mutable {
    if (std::exchange(first, false)) throw std::runtime_error("once");
  });
  const reader& client = on.submit("request", 40);
  while (on.in.watch().running_for(1h) == 0ns) REQUIRE(on.in.step());
  on.in.link().cancel({0, client.identity}, "tenant", "request");
  on.in.settle();
  CHECK(on.in.watch().running_for(1h) == 0ns);
}

TEST_CASE("a cancel and a lost connection never overtake their request") {
  for (const lane service : all_lanes) {
    for (std::uint64_t seed = 1; seed <= seed_count; ++seed) {
      INFO("seed " << seed << ", lane " << to_string(service));
      scene on(seed);
      const reader& cancelled = on.submit("cancelled", 200, false, service);
      on.in.link().cancel({0, cancelled.identity}, "tenant", "cancelled");
      const reader& gone = on.submit("gone", 200, false, service);
      on.in.link().client_gone({0, gone.identity});
      const reader& later = on.submit("later", 200, false, service);
      for (int i = 0; i < 2 + static_cast<int>(seed); ++i) on.in.step();
      on.in.link().cancel({0, later.identity}, "tenant", "later");
      on.in.settle();
      CHECK(on.error_code(cancelled) == "aborted");
      CHECK(on.error_code(gone) == "aborted");
      CHECK(on.error_code(later) == "aborted");
    }
  }
}

TEST_CASE("a client that comes back while its prompt is prepared reads on") {
  for (std::uint64_t seed = 1; seed <= seed_count; ++seed) {
    INFO("seed " << seed);
    scene on(seed);
    reader& client = on.submit("request", 8, true);
    on.clients.reconnect(on.in, client);
    on.in.settle();
    CHECK(on.error_code(client) == "finished");
    on.clients.check_outcome(client);
  }
}

TEST_CASE("a resume that crosses the end gets everything, under the same name too") {
  spdlog::set_level(spdlog::level::off);
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    INFO("seed " << seed);
    std::map<std::uint64_t, std::int64_t> tokens;  // by offset: what comes may repeat
    bool has_ended = false;
    world_options options;
    options.seed = seed;
    options.limits.block_count = 64;
    options.on_event = [&](const outbound& event) {
      if (const auto* part = std::get_if<delta>(&event.body))
        tokens[event.header.offset] = part->token_ids.at(0);
      if (std::holds_alternative<finished>(event.body)) has_ended = true;
    };
    world in(std::move(options));
    submit request;
    request.prompt_token_ids = {5, 6, 7};
    request.max_tokens = 3;
    request.ignore_eos = true;
    envelope_header header;
    header.kind = message_kind::submit;
    header.request_id = "request";
    const client_ref client{0, "connection"};
    REQUIRE(in.link().submit({client, header, request, "tenant", true}).has_value());
    for (std::uint64_t i = 0; i < 8 + seed % 40; ++i) in.step();
    // All that came so far is lost with its connection; the next one has the same name.
    tokens.clear();
    has_ended = false;
    in.link().resume(client, "tenant", "request", {});
    in.settle();
    CHECK(has_ended);
    CHECK(tokens.size() == 3);
  }
}

TEST_CASE("a transcript is kept for resume_ms_max, of requests that never ran too") {
  scene on(5);
  reader& client = on.submit("request", 8, true);
  on.in.settle();
  reader& stopped = on.submit("stopped", 8, true);
  stopped.was_disturbed = true;
  on.in.link().cancel({0, stopped.identity}, "tenant", "stopped");
  on.in.settle();
  on.in.advance(29s);
  client.last_word.reset();
  on.clients.reconnect(on.in, client);
  on.in.settle();
  CHECK(on.error_code(client) == "finished");
  on.in.advance(2s);
  on.in.settle();
  client.last_word.reset();
  on.clients.reconnect(on.in, client);
  on.in.settle();
  CHECK(on.error_code(client) == "not_found");
}

TEST_CASE("a drain without grace aborts what runs, and answers it") {
  for (std::uint64_t seed = 1; seed <= seed_count; ++seed) {
    INFO("seed " << seed);
    scene on(seed, [&on](const step_plan&) { on.in.advance(10ms); });
    std::vector<reader*> asked;
    for (int i = 0; i < 5; ++i) asked.push_back(&on.submit("request-" + std::to_string(i), 200));
    for (int i = 0; i < 40; ++i) on.in.step();
    on.in.drain(15ms);
    on.in.settle();
    CHECK(on.in.is_drained());
    for (const reader* client : asked) CHECK(on.error_code(*client) == "unavailable");
    CHECK(on.in.gate().credits(lane::realtime) == 64);
  }
}

TEST_CASE("a drain waits for prompts that are still prepared") {
  for (std::uint64_t seed = 1; seed <= seed_count; ++seed) {
    INFO("seed " << seed);
    scene on(seed);
    const reader& client = on.submit("request", 8);
    on.in.step();
    on.in.drain(10s);
    bool answered_when_drained = false;
    while (on.in.step()) {
      if (on.in.is_drained()) {
        answered_when_drained = client.last_word.has_value();
        break;
      }
    }
    CHECK(answered_when_drained);
    CHECK(on.error_code(client) != "none");
    on.in.settle();
  }
}

}  // namespace
}  // namespace troupe::test
