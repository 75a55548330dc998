// One matmul as tests run it: packed as is named, its output between canaries.
#pragma once

#include <algorithm>
#include <vector>

#include <catch2/catch.hpp>

#include "kernels/matmul/matmul.hpp"
#include "tests/kernels/canary_buffer.hpp"
#include "tests/kernels/matmul_rows.hpp"

namespace troupe::test {

inline constexpr float matmul_canary = -12345.5f;

inline kernels::packed_matrix pack(isa set, dtype type, const std::vector<std::byte>& weights,
                                   std::size_t n, std::size_t k, thread_pool& pool,
                                   kernels::minima named = kernels::minima::zero_points) {
  auto packed = kernels::packed_matrix::pack(set, type, weights, n, k, pool, nullptr, named);
  if (!packed) FAIL(packed.failure().message);
  return std::move(packed).value();
}

struct matmul_problem {
  const kernels::packed_matrix& weight;
  const std::vector<float>& x;
  std::size_t m;
  const float* bias = nullptr;
  const float* start = nullptr;  // what the products are added to, or nullptr
};

// The output with its row stride of N + 3, canaries in the gap and around it.
inline std::vector<float> multiply(const matmul_problem& p, thread_pool& pool) {
  const std::size_t n = p.weight.row_count(), k = p.weight.column_count();
  const std::size_t stride = n + 3, margin = 32;
  std::vector<float> out(2 * margin + p.m * stride, matmul_canary);
  // Floats at an address that is not even a multiple of 8 bytes.
  std::vector<float> shifted(p.x.size() + 1);
  std::copy(p.x.begin(), p.x.end(), shifted.begin() + 1);
  kernels::quantized_rows quantized;
  kernels::matmul_job job;
  job.weight = &p.weight;
  if (p.weight.wants_quantized()) {
    quantized = quantize_all(p.weight.instruction_set(), p.x, p.m, k);
    job.quantized = &quantized;
  } else {
    job.floats = shifted.data() + 1;
    job.floats_stride = k;
  }
  job.bias = p.bias;
  job.output = out.data() + margin;
  job.output_stride = stride;
  job.adds = p.start != nullptr;
  for (std::size_t row = 0; job.adds && row < p.m; ++row)
    std::copy_n(p.start + row * n, n, job.output + row * stride);
  kernels::matmul(job, p.m, pool);
  std::size_t overwritten = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const bool inside = i >= margin && i < margin + p.m * stride && (i - margin) % stride < n;
    overwritten += !inside && out[i] != matmul_canary;
  }
  CHECK(overwritten == 0);
  std::vector<float> y(p.m * n);
  for (std::size_t row = 0; row < p.m; ++row) {
    std::copy_n(out.begin() + static_cast<std::ptrdiff_t>(margin + row * stride), n,
                y.begin() + static_cast<std::ptrdiff_t>(row * n));
  }
  return y;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && same_bits(a.data(), b.data(), a.size());
}

inline std::size_t columns_of(dtype type, std::size_t groups) {
  const auto layout = *layout_of(type);
  return layout.block_elements == 1 ? groups * 7 + 1 : groups * layout.block_elements;
}

inline thread_pool& single() {
  static thread_pool pool({.thread_count = 1, .nice = 0, .spin_us = 20});
  return pool;
}

inline thread_pool& several() {
  static thread_pool pool({.thread_count = 4, .nice = 0, .spin_us = 20});
  return pool;
}

}  // namespace troupe::test
