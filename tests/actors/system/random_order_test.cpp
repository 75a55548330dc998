// Router, gateway, scheduler, worker, requests and supervisor in every order that seeded dice find,
// with cancels, lost connections, resumes, duplicates, deadlines, failing steps and killed halves
// of the replica. Whatever happens: one terminal reply for each request, offsets without gap or
// repeat, the tokens of a naive engine, all credits back, a drain that ends, and no actor or
// message left.
//
// TROUPE_TEST_SEEDS: how many seeds; TROUPE_TEST_SEED_FIRST: where to begin.
#include <cstdlib>
#include <set>

#include <catch2/catch.hpp>
#include <spdlog/spdlog.h>

#include "tests/actors/system/readers.hpp"

namespace troupe::test {
namespace {

using namespace std::chrono_literals;

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

class scenario {
 public:
  explicit scenario(std::uint64_t seed) : dice_(seed * 2 + 1), in_(options_for(seed)) {}

  void play() {
    const bool drains_midway = chance(3);
    std::uint32_t left_to_submit = 24;
    while (left_to_submit != 0) {
      if (chance(6)) {
        submit_one(left_to_submit--);
      } else if (chance(20)) {
        disturb();
      } else if (chance(40)) {
        in_.advance(std::chrono::microseconds(dice_() % 3000));
      } else if (!in_.step()) {
        submit_one(left_to_submit--);
      }
    }
    for (std::uint32_t i = dice_() % 400; i != 0; --i) {
      if (!in_.step()) break;
      if (chance(30)) disturb();
    }
    if (!drains_midway) finish_all();
    in_.drain(10s);
    finish_all();
    CHECK(in_.is_drained());
    CHECK(in_.status().get() == engine_state::draining);
    CHECK(in_.fatal_reasons().empty());
    clients_.check_outcomes();
    for (const lane service : all_lanes)
      CHECK(in_.gate().credits(service) == credits_[to_index(service)]);
    CHECK(in_.watch().running_for(1h) == 0ns);
    CHECK(in_.stop() == 0);
  }

 private:
  world_options options_for(std::uint64_t seed) {
    world_options options;
    options.seed = seed;
    options.limits.max_model_len = 64;
    options.limits.max_num_seqs = 2 + static_cast<std::uint32_t>(dice_() % 6);
    options.limits.max_num_batched_tokens = 8 + static_cast<std::uint32_t>(dice_() % 24);
    options.limits.max_batch_size = 1 + static_cast<std::uint32_t>(dice_() % 4);
    options.limits.block_tokens = 4;
    options.limits.block_count = 16 + static_cast<std::uint32_t>(dice_() % 48);
    options.limits.enable_prefix_caching = !chance(4);
    for (auto& credit : credits_) credit = 2 + static_cast<std::uint32_t>(dice_() % 6);
    options.credits = credits_;
    for (std::uint64_t i = dice_() % 4; i != 0; --i) failing_steps_.insert(dice_() % 120);
    deaths_left_ = chance(3) ? 2 : 0;
    options.before_step = [this](const step_plan&) {
      if (failing_steps_.contains(step_count_++)) throw std::runtime_error("an injected fault");
    };
    options.on_event = [this](const outbound& event) { clients_.take(event); };
    return options;
  }

  bool chance(std::uint64_t one_in) { return dice_() % one_in == 0; }

  void submit_one(std::uint32_t number) {
    // Few prompts, so that the prefix cache is hit.
    submit request;
    request.prompt_token_ids.emplace();
    const std::uint64_t family = dice_() % 3;
    for (std::uint64_t i = 0, count = 1 + dice_() % 20; i < count; ++i)
      request.prompt_token_ids->push_back(static_cast<std::int64_t>(5 + family * 30 + i));
    request.seed = static_cast<std::int64_t>(dice_() % 1000);
    request.max_tokens = static_cast<std::int64_t>(1 + dice_() % 16);
    request.n = chance(3) ? 2 : 1;
    if (chance(4)) request.min_tokens = *request.max_tokens / 2;
    if (chance(6)) request.ignore_eos = true;
    if (chance(4)) request.prompt_logprobs = 0;
    if (chance(8)) request.echo = true, request.max_tokens = 0, request.min_tokens = 0;
    if (chance(3)) request.stop = some_stop_string(request);
    envelope_header header;
    header.request_id = "request-" + std::to_string(number);
    header.service = all_lanes[dice_() % lane_count];
    if (chance(8)) header.deadline_ms = 1 + dice_() % 4;
    const std::string tenant = chance(2) ? "a" : "b";
    const bool resumable = chance(2);
    clients_.submit(in_, request, header, resumable, tenant);
    if (!chance(8)) return;
    header.deadline_ms = 0;
    if (reader* again = clients_.submit(in_, request, header, false, tenant, true))
      duplicates_.insert(again);
  }

  /// One or two letters that the first sequence will say.
  std::vector<std::string> some_stop_string(const submit& request) {
    const auto prepared = in_.prompts().prepare(request, 0, {}).value();
    const auto said = generate_naively(*prepared.tokens, *prepared.params, in_.vocabulary(), 0);
    std::vector<std::string> found;
    for (std::size_t i = 0; i < said.text.size(); ++i) {
      if (said.text[i] < ' ') continue;
      const bool pair = i + 1 < said.text.size() && said.text[i + 1] >= ' ';
      found.push_back(said.text.substr(i, pair ? 2 : 1));
    }
    if (found.empty()) return {};
    return {found[dice_() % found.size()]};
  }

  void disturb() {
    if (deaths_left_ != 0 && chance(4)) {
      --deaths_left_;
      in_.kill(chance(2) ? world::half::scheduler : world::half::worker);
      return;
    }
    const auto candidates = clients_.unfinished();
    if (candidates.empty()) return;
    reader& client = *candidates[dice_() % candidates.size()];
    if (client.is_duplicate || has_duplicate(client)) return;
    switch (dice_() % 4) {
      case 0:
        client.was_disturbed = true;
        in_.link().cancel({0, client.identity}, client.tenant, client.request_id);
        break;
      case 1:
        client.was_disturbed = true;
        in_.link().client_gone({0, client.identity});
        break;
      default:
        if (client.resumable) clients_.reconnect(in_, client);
    }
  }

  /// A cancel or resume by name could mean either of the two.
  bool has_duplicate(const reader& client) const {
    for (const reader* other : duplicates_) {
      if (other->request_id == client.request_id && other->tenant == client.tenant) return true;
    }
    return false;
  }

  void finish_all() {
    in_.settle();
    CHECK(clients_.unfinished().empty());
  }

  std::mt19937_64 dice_;
  std::array<std::uint32_t, lane_count> credits_{};
  std::set<std::uint64_t> failing_steps_;
  std::uint64_t step_count_ = 0;
  std::uint32_t deaths_left_ = 0;
  readers clients_;
  std::set<const reader*> duplicates_;
  world in_;
};

TEST_CASE("whatever the order, every request gets its tokens and one last word") {
  spdlog::set_level(spdlog::level::off);
  const std::uint64_t first = from_environment("TROUPE_TEST_SEED_FIRST", 1);
  const std::uint64_t count = from_environment("TROUPE_TEST_SEEDS", 500);
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    INFO("seed " << seed);
    scenario(seed).play();
  }
}

}  // namespace
}  // namespace troupe::test
