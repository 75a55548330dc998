// What tests of matmul and of quantizing rows share: the variants that this machine runs, and rows
// of activations.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/matmul/matmul.hpp"
#include "tests/skip.hpp"

namespace troupe::test {

inline constexpr std::uint32_t matmul_seed = 20240611;

inline std::vector<isa> runnable_variants() {
  std::vector<isa> found;
  for (const isa set : {isa::avx2, isa::avx512, isa::amx}) {
    if (is_supported(set)) {
      found.push_back(set);
    } else {
      skip("this machine cannot run " + std::string(to_string(set)));
    }
  }
  if (!detect_cpu_features().amx_int8)
    skip("this machine cannot multiply bytes on tiles, which avx512 does with many rows");
  return found;
}

// Activations of widely different sizes from group to group; some groups all zero.
inline std::vector<float> random_activations(std::size_t rows, std::size_t columns,
                                             std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<float> x(rows * columns);
  float size = 1.0f;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (i % 32 == 0) {
      size = random() % 8 == 0 ? 0.0f : std::ldexp(1.0f, static_cast<int>(random() % 12) - 6);
    }
    x[i] = size * normal(random);
  }
  return x;
}

inline kernels::quantized_rows quantize_all(isa set, const std::vector<float>& x, std::size_t m,
                                            std::size_t k) {
  kernels::quantized_rows out;
  out.resize(set, m, k);
  for (std::size_t row = 0; row < m; ++row)
    kernels::quantize_row(set, x.data() + row * k, row, out);
  return out;
}

}  // namespace troupe::test
