// Speed of matmul and quantize_row at the shapes of SmolLM2-135M, in GOPS (2 M N K operations), in
// GB/s of packed weights, and beside it the machine's own limit for reading memory.
//
// Each benchmark walks enough copies of its matrix to exceed a last-level cache (as a model's
// layers do), so that small M shows memory bandwidth, not cache bandwidth. "hot" ones use a single
// copy. TROUPE_BENCH_THREADS sets the number of threads (2 by default); TROUPE_BENCH_ISA the
// variant ("auto").
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/base/half.hpp"
#include "kernels/matmul/matmul.hpp"

namespace {

using troupe::dtype;
using troupe::isa;
using troupe::thread_pool;
using troupe::kernels::matmul_job;
using troupe::kernels::packed_matrix;
using troupe::kernels::quantized_rows;

constexpr std::size_t cold_bytes = 96u << 20;  // three times a 32 MB last-level cache

std::string environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

thread_pool& pool() {
  static thread_pool shared({.thread_count = std::stoul(environment("TROUPE_BENCH_THREADS", "2")),
                             .nice = 0,
                             .spin_us = 200});
  return shared;
}

isa variant() {
  return troupe::parse_isa(environment("TROUPE_BENCH_ISA", "auto")).value();
}

packed_matrix random_matrix(dtype type, std::size_t n, std::size_t k) {
  const auto layout = *troupe::layout_of(type);
  const std::size_t blocks = n * k / layout.block_elements;
  std::vector<std::byte> bytes(blocks * layout.block_bytes);
  std::minstd_rand random(1);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random() & 0x3F);  // no NaN as f16 either
  return packed_matrix::pack(variant(), type, bytes, n, k, pool()).value();
}

std::vector<float> random_floats(std::size_t count) {
  std::minstd_rand random(2);
  std::vector<float> x(count);
  for (auto& value : x) value = static_cast<float>(random() % 2048) / 1024.0f - 1.0f;
  return x;
}

struct shape {
  dtype type;
  std::size_t n, k;
  bool cold;
};

void run_matmul(benchmark::State& state, const shape& chosen) {
  const auto m = static_cast<std::size_t>(state.range(0));
  std::vector<packed_matrix> weights;
  weights.push_back(random_matrix(chosen.type, chosen.n, chosen.k));
  const std::size_t bytes = weights[0].size_bytes();
  while (chosen.cold && weights.size() * bytes < cold_bytes) {
    weights.push_back(random_matrix(chosen.type, chosen.n, chosen.k));
  }
  const auto x = random_floats(m * chosen.k);
  quantized_rows quantized;
  quantized.resize(m, chosen.k);
  for (std::size_t row = 0; row < m; ++row) {
    troupe::kernels::quantize_row(variant(), x.data() + row * chosen.k, row, quantized);
  }
  std::vector<float> y(m * chosen.n);
  std::size_t next = 0;
  for (auto _ : state) {
    matmul_job job;
    job.weight = &weights[next];
    job.quantized = &quantized;
    job.floats = x.data();
    job.floats_stride = chosen.k;
    job.output = y.data();
    job.output_stride = chosen.n;
    troupe::kernels::matmul(job, m, pool());
    benchmark::ClobberMemory();
    next = next + 1 == weights.size() ? 0 : next + 1;
  }
  const double operations = 2.0 * static_cast<double>(m * chosen.n * chosen.k);
  using benchmark::Counter;
  state.counters["GOPS"] = Counter(operations * 1e-9, Counter::kIsIterationInvariantRate);
  state.counters["GB/s"] =
      Counter(static_cast<double>(bytes) * 1e-9, Counter::kIsIterationInvariantRate);
}

void run_quantize(benchmark::State& state) {
  const auto k = static_cast<std::size_t>(state.range(0));
  const std::size_t m = 128;
  const auto x = random_floats(m * k);
  quantized_rows quantized;
  quantized.resize(m, k);
  for (auto _ : state) {
    for (std::size_t row = 0; row < m; ++row) {
      troupe::kernels::quantize_row(variant(), x.data() + row * k, row, quantized);
    }
    benchmark::ClobberMemory();
  }
  state.counters["Gelements/s"] = benchmark::Counter(static_cast<double>(m * k) * 1e-9,
                                                     benchmark::Counter::kIsIterationInvariantRate);
}

// The limit of small M: every thread reads its part of a large array.
void run_read(benchmark::State& state) {
  const std::size_t count = cold_bytes / sizeof(std::uint64_t), tasks = 64;
  const std::vector<std::uint64_t> words(count, 1);
  std::vector<std::uint64_t> sums(tasks * 8);
  for (auto _ : state) {
    pool().parallel_for(tasks, [&](std::size_t task, std::size_t) {
      const std::uint64_t* part = words.data() + count / tasks * task;
      std::uint64_t sum[8] = {};
      for (std::size_t i = 0; i < count / tasks; i += 8) {
        for (std::size_t j = 0; j < 8; ++j) sum[j] += part[i + j];
      }
      for (std::size_t j = 0; j < 8; ++j) sums[task * 8 + j] = sum[j];
    });
    benchmark::ClobberMemory();
  }
  state.counters["GB/s"] = benchmark::Counter(static_cast<double>(cold_bytes) * 1e-9,
                                              benchmark::Counter::kIsIterationInvariantRate);
}

void add_matmul(const std::string& name, const shape& chosen) {
  auto* added = benchmark::RegisterBenchmark(
      name.c_str(), [chosen](benchmark::State& state) { run_matmul(state, chosen); });
  added->ArgName("M")->UseRealTime()->Unit(benchmark::kMicrosecond);
  for (const int m : {1, 16, 32, 128, 512}) added->Arg(m);
}

const bool registered = [] {
  benchmark::RegisterBenchmark("read", run_read)->UseRealTime()->Unit(benchmark::kMicrosecond);
  benchmark::RegisterBenchmark("quantize", run_quantize)->Arg(576)->Arg(1536);
  add_matmul("Q4_1/q_576x576", {dtype::q4_1, 576, 576, true});
  add_matmul("Q4_1/kv_192x576", {dtype::q4_1, 192, 576, true});
  add_matmul("Q4_1/up_1536x576", {dtype::q4_1, 1536, 576, true});
  add_matmul("Q4_1/down_576x1536", {dtype::q4_1, 576, 1536, true});
  add_matmul("Q8_0/head_49152x576", {dtype::q8_0, 49152, 576, true});
  add_matmul("hot/Q4_1/up_1536x576", {dtype::q4_1, 1536, 576, false});
  for (const dtype type : {dtype::q4_0, dtype::q5_0, dtype::q5_1, dtype::q8_0, dtype::f32,
                           dtype::f16, dtype::bf16, dtype::f8_e4m3}) {
    add_matmul(std::string(troupe::layout_of(type)->name) + "/1536x576", {type, 1536, 576, true});
  }
  for (const dtype type : {dtype::q4_k, dtype::q5_k, dtype::q6_k}) {
    add_matmul(std::string(troupe::layout_of(type)->name) + "/1536x768", {type, 1536, 768, true});
  }
  return true;
}();

}  // namespace
