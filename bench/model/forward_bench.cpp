// Speed of the forward pass on the model that TROUPE_BENCH_MODEL names: prefill of 512 tokens, and
// decode at several batch sizes with 64 .. 128 tokens of context. items_per_second is tokens per
// second. Threads: TROUPE_BENCH_THREADS, by default all.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include "runtime/model/forward.hpp"

namespace {

using namespace troupe;

constexpr std::size_t block_tokens = 16;
constexpr std::size_t context_tokens = 1024;
constexpr std::size_t batch_max = 64;

struct bench_model {
  thread_pool pool;
  gguf_file file;
  model_description description;
  model_weights weights;
  kv_cache cache;

  static std::size_t thread_count() {
    const char* chosen = std::getenv("TROUPE_BENCH_THREADS");
    return chosen != nullptr ? std::stoul(chosen) : std::thread::hardware_concurrency();
  }
  static isa chosen_isa() {
    const char* chosen = std::getenv("TROUPE_BENCH_ISA");
    return parse_isa(chosen != nullptr ? chosen : "auto").value();
  }
  explicit bench_model(const std::string& path)
      : pool({.thread_count = thread_count(), .spin_us = 100}),
        file(gguf_file::open(path).value()),
        description(model_description::from_gguf(file).value()),
        weights(model_weights::load(file, description, chosen_isa(), pool).value()),
        cache(kv_cache::create(
                  kv_layout_for(description, std::getenv("TROUPE_BENCH_KV") ? kernels::kv_dtype::bf16 : kernels::kv_dtype::f16, block_tokens).value(),
                  description.layer_count, batch_max * context_tokens / block_tokens)
                  .value()) {}
};

bench_model* model_of(benchmark::State& state) {
  static const char* path = std::getenv("TROUPE_BENCH_MODEL");
  if (path == nullptr) {
    state.SkipWithError("TROUPE_BENCH_MODEL names no model");
    return nullptr;
  }
  static const std::unique_ptr<bench_model> model = std::make_unique<bench_model>(path);
  return model.get();
}

/// The blocks of a sequence that may grow to context_tokens.
std::vector<block_index> table_of(std::size_t sequence) {
  std::vector<block_index> table;
  for (std::size_t i = 0; i < context_tokens / block_tokens; ++i) {
    table.push_back(static_cast<block_index>(sequence * (context_tokens / block_tokens) + i));
  }
  return table;
}

std::vector<token_id> some_tokens(std::size_t count) {
  std::vector<token_id> tokens;
  for (std::size_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<token_id>(100 + i * 37 % 997));
  return tokens;
}

void prefill(benchmark::State& state) {
  bench_model* model = model_of(state);
  if (model == nullptr) return;
  const auto count = static_cast<std::size_t>(state.range(0));
  forward_pass pass(model->description, model->weights, model->cache, model->pool,
                    model->weights.instruction_set(), count);
  const auto tokens = some_tokens(count);
  const auto table = table_of(0);
  const forward_slice slice{tokens, 0, table, forward_slice::logits::last};
  for (auto _ : state) benchmark::DoNotOptimize(pass.run({&slice, 1}).data());
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void decode(benchmark::State& state) {
  bench_model* model = model_of(state);
  if (model == nullptr) return;
  const auto batch = static_cast<std::size_t>(state.range(0));
  const auto context_first = static_cast<std::size_t>(state.range(1));
  forward_pass pass(model->description, model->weights, model->cache, model->pool,
                    model->weights.instruction_set(), context_first);
  const auto tokens = some_tokens(context_first);
  std::vector<std::vector<block_index>> tables;
  for (std::size_t i = 0; i < batch; ++i) {
    tables.push_back(table_of(i));
    const forward_slice slice{tokens, 0, tables.back(), forward_slice::logits::none};
    pass.run({&slice, 1});
  }
  std::size_t position = context_first;
  std::vector<forward_slice> step(batch);
  for (auto _ : state) {
    for (std::size_t i = 0; i < batch; ++i) {
      step[i] = {std::span(tokens).subspan(i % context_first, 1), position, tables[i],
                 forward_slice::logits::last};
    }
    benchmark::DoNotOptimize(pass.run(step).data());
    if (++position == context_first + 64) position = context_first;
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

BENCHMARK(prefill)->Arg(64)->Arg(512)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(decode)
    ->Args({1, 64})
    ->Args({4, 64})
    ->Args({16, 64})
    ->Args({32, 64})
    ->Args({1, 900})
    ->Args({16, 900})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace

