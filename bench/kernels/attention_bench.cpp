// Speed of paged_attention by itself, in the shape of SmolLM2-135M (9 heads over 3 KV heads of 64):
// prefill of a whole prompt and decode at some context. flops counts 4 * head_dim for each (head,
// query, visible key).
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/attention/attention.hpp"

namespace {

using namespace troupe;
using namespace troupe::kernels;

void run(benchmark::State& state, isa set, std::size_t row_count, std::size_t position,
         std::size_t sequence_count) {
  if (!is_supported(set)) {
    state.SkipWithError("not supported by this machine");
    return;
  }
  const kv_layout layout{
      .type = kv_dtype::f16, .kv_head_count = 3, .head_dim = 64, .block_tokens = 16};
  const std::size_t width = 9 * 64;
  const std::size_t blocks = (position + row_count + 15) / 16;
  std::vector<std::byte> cache(blocks * layout.block_bytes());
  std::vector<block_index> table;
  for (std::size_t i = 0; i < blocks; ++i) table.push_back(static_cast<block_index>(i));
  std::vector<attention_slice> slices;
  for (std::size_t i = 0; i < sequence_count; ++i) {
    slices.push_back({i * row_count, row_count, position, table});
  }
  std::vector<float> query(sequence_count * row_count * width, 0.01f), output(query.size());
  thread_pool pool({.thread_count = 1});
  for (auto _ : state) {
    paged_attention(set, layout, {cache.data(), blocks}, slices,
                    {.query = query.data(),
                     .query_stride = width,
                     .output = output.data(),
                     .output_stride = width,
                     .head_count = 9,
                     .scale = 0.125f},
                    pool);
    benchmark::ClobberMemory();
  }
  double keys = 0.0;
  for (std::size_t i = 0; i < row_count; ++i) keys += static_cast<double>(position + i + 1);
  state.counters["flops"] =
      benchmark::Counter(keys * static_cast<double>(sequence_count) * 9 * 64 * 4,
                         benchmark::Counter::kIsIterationInvariantRate);
}

void prefill(benchmark::State& state, isa set) {
  run(state, set, static_cast<std::size_t>(state.range(0)), 0, 1);
}

void decode(benchmark::State& state, isa set) {
  run(state, set, 1, static_cast<std::size_t>(state.range(1)),
      static_cast<std::size_t>(state.range(0)));
}

BENCHMARK_CAPTURE(prefill, avx2, isa::avx2)->Arg(512);
BENCHMARK_CAPTURE(prefill, avx512, isa::avx512)->Arg(64)->Arg(512)->Arg(2048);
BENCHMARK_CAPTURE(decode, avx2, isa::avx2)->Args({16, 512});
BENCHMARK_CAPTURE(decode, avx512, isa::avx512)->Args({1, 512})->Args({16, 64})->Args({16, 512});

}  // namespace

