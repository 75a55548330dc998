// Proves on real models that a lower tier changes no token: conversations that do not fit into the
// device's blocks together are served in turn, with the tier and without, bit by bit the same; and
// prints what moving a block costs next to computing it.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>

#include <catch2/catch.hpp>

#include "runtime/execute/model_executor.hpp"
#include "runtime/schedule/scheduler_core.hpp"
#include "runtime/storage/memory_kv_store.hpp"
#include "tests/skip.hpp"

using namespace troupe;

namespace {

constexpr std::uint32_t block_tokens = 16;

struct served {
  std::map<request_id, std::vector<sampled_token>> tokens;
  scheduler_counts counts;
  double compute_ms = 0.0;
};

executor_options options_for(const loaded_model& model, kernels::kv_dtype type,
                             std::uint32_t block_count) {
  executor_options options;
  options.threads = {.thread_count = 2};
  options.layout = kv_layout_for(model.description, type, block_tokens).value();
  options.block_count = block_count;
  options.max_tokens_per_step = 256;
  return options;
}

schedule_request make_request(const loaded_model& model, std::uint64_t id, unsigned conversation,
                              std::size_t prompt_count) {
  std::vector<token_id> prompt;
  std::uint32_t state = conversation * 2654435761u + 12345u;
  for (std::size_t i = 0; i < prompt_count; ++i) {
    state = state * 1664525u + 1013904223u;
    prompt.push_back(static_cast<token_id>((state >> 8) % model.description.vocab_size));
  }
  generation_params params;
  params.stopping.max_tokens = 6;
  params.stopping.ignore_eos = true;
  params.sampling.temperature = 0.8f;
  params.sampling.seed = 5;
  params.sampling.logprobs = 2;
  schedule_request request;
  request.id = static_cast<request_id>(id);
  request.prompt = std::make_shared<const std::vector<token_id>>(std::move(prompt));
  request.params = std::make_shared<const generation_params>(params);
  request.arrival = monotonic_time{id};
  return request;
}

/// Three rounds of four conversations of 150 tokens and more, on a device that holds one and a
/// half.
served serve(const std::shared_ptr<const loaded_model>& model, kernels::kv_dtype type,
             bool with_tier) {
  scheduler_limits limits;
  limits.max_model_len = 256;
  limits.max_num_seqs = 2;
  limits.max_num_batched_tokens = 256;
  limits.block_tokens = block_tokens;
  limits.block_count = 18;
  limits.model_fingerprint = model->fingerprint;
  limits.enable_offload = with_tier;
  const auto options = options_for(*model, type, limits.block_count);
  limits.initial_transfer =
      transfer_profile_of(options.layout.block_bytes() * model->description.layer_count);
  scheduler_core core(limits);
  memory_kv_store store(std::size_t{256} << 20);
  auto executor = model_executor::create(model, options).value();
  served made;
  std::uint64_t id = 0;
  for (std::size_t round = 0; round < 3; ++round) {
    for (unsigned conversation = 0; conversation < 4; ++conversation) {
      const auto request = make_request(*model, ++id, conversation, 150 + 20 * round);
      core.enqueue(request, {}).value();
      if (with_tier) {
        core.offer_blocks({request.id, 0},
                          store.find(block_keys_of(limits.model_fingerprint, 0,
                                                   {*request.prompt, {}}, block_tokens)));
      }
      while (core.has_work()) {
        const auto planned = core.plan(monotonic_time{1000});
        auto result = executor->execute(planned.plan);
        made.compute_ms += result.total_ms();
        for (auto& update : core.complete(result, monotonic_time{1000}).updates) {
          made.tokens[update.sequence.request].push_back(update.token.value());
        }
        store.store(std::move(result.offloaded));
        store.check_integrity();
        core.check_integrity();
      }
    }
  }
  made.counts = core.counts();
  return made;
}

void check_same(const served& left, const served& right) {
  REQUIRE(left.tokens.size() == right.tokens.size());
  for (const auto& [id, tokens] : left.tokens) {
    const auto& others = right.tokens.at(id);
    REQUIRE(tokens.size() == others.size());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      REQUIRE(tokens[i].token == others[i].token);
      REQUIRE(tokens[i].logprob == others[i].logprob);  // the same bits
    }
  }
}

void check_model(const std::filesystem::path& path,
                 kernels::kv_dtype type = kernels::kv_dtype::f16) {
  thread_pool loaders({.thread_count = 2});
  const auto model = loaded_model::load(path, best_isa(), loaders, [](float) {}).value();
  const served without = serve(model, type, false);
  const served with = serve(model, type, true);
  check_same(without, with);
  REQUIRE(without.counts.uploaded_blocks == 0);
  REQUIRE(without.counts.offloaded_blocks == 0);
  REQUIRE(with.counts.uploaded_blocks > 40);
  REQUIRE(with.counts.offloaded_blocks >= with.counts.uploaded_blocks);
  WARN(path.stem().string() << ": " << with.counts.offloaded_blocks << " blocks offloaded, "
                            << with.counts.uploaded_blocks << " uploaded; steps took "
                            << with.compute_ms << " ms, without the tier " << without.compute_ms
                            << " ms");
}

}  // namespace

TEST_CASE("a lower tier changes no token of a tiny model", "[execute]") {
  for (const char* name : {"tiny-llama", "tiny-qwen3"}) {
    for (const auto type : {kernels::kv_dtype::f16, kernels::kv_dtype::int8}) {
      check_model(
          std::filesystem::path(TROUPE_SOURCE_DIR) / "tests/models" / (std::string(name) + ".gguf"),
          type);
    }
  }
}

TEST_CASE("a KV block survives its way out and back, and nothing else fits", "[execute]") {
  const kernels::kv_layout layout{kernels::kv_dtype::f16, 2, 8, block_tokens};
  auto cache = kv_cache::create(layout, 3, 4).value();
  for (std::size_t i = 0; i < 3; ++i) {
    const auto layer = cache.layer(i);
    for (std::size_t b = 0; b < 4 * layout.block_bytes(); ++b) {
      layer.data[b] = static_cast<std::byte>(b / 7 + i);
    }
  }
  const auto bytes = cache.export_block(block_index{2});
  const auto others = cache.export_block(block_index{1});
  REQUIRE(bytes.size() == 3 * layout.block_bytes());
  REQUIRE(cache.import_block(block_index{0}, bytes));
  REQUIRE(cache.export_block(block_index{0}) == bytes);
  REQUIRE(cache.export_block(block_index{1}) == others);
  const auto refused = cache.import_block(block_index{0}, std::span(bytes).first(bytes.size() - 1));
  REQUIRE(refused.failure().code == errc::invalid_argument);
}

TEST_CASE("moving a block costs less than computing it", "[execute][real]") {
  const auto path = test::required_file("TROUPE_TEST_MODEL");
  if (!path) return;
  check_model(*path);
  thread_pool loaders({.thread_count = 2});
  const auto model = loaded_model::load(*path, best_isa(), loaders, [](float) {}).value();
  constexpr int block_count = 64;
  const auto options = options_for(*model, kernels::kv_dtype::f16, block_count);
  auto cache =
      kv_cache::create(options.layout, model->description.layer_count, block_count).value();
  const auto milliseconds_of = [](const auto& work) {
    const auto began = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
        .count();
  };
  std::vector<std::vector<std::byte>> kept(block_count);
  const auto move_all = [&] {
    for (int i = 0; i < block_count; ++i) kept[i] = cache.export_block(block_index{i});
  };
  move_all();  // the first touch of the cache is not what is measured
  for (auto& each : kept) each = {};
  const double out_ms = milliseconds_of(move_all);
  const double back_ms = milliseconds_of([&] {
    for (int i = 0; i < block_count; ++i) {
      REQUIRE(cache.import_block(block_index{i}, kept[i]));
    }
  });
  auto executor = model_executor::create(model, options).value();
  const auto request = make_request(*model, 1, 1, 240);
  step_plan plan;
  step_slice& slice = plan.slices.emplace_back();
  slice.sequence = {request.id, 0};
  slice.tokens.assign(*request.prompt);
  for (int i = 0; i < 15; ++i) slice.block_table.push_back(block_index{i});
  executor->execute(plan);
  const double compute_ms = executor->execute(plan).compute_ms;
  WARN("a block of " << cache.exported_bytes() << " bytes: out " << out_ms / block_count
                     << " ms, back " << back_ms / block_count << " ms, computed " << compute_ms / 15
                     << " ms (in a prefill of 240 tokens)");
  REQUIRE((out_ms + back_ms) / block_count < compute_ms / 15);
}
