// The gate on vectors; Simd is one of kernels/base/simd_*.hpp.
#pragma once

#include "kernels/exp/exp_vector.hpp"
#include "kernels/silu_mul/silu_mul.hpp"

namespace troupe::kernels {

template <class Simd>
Simd silu_mul_of(Simd gate, Simd up) {
  const Simd one = Simd::broadcast(1.0f);
  const Simd minus_zero = Simd::broadcast(-0.0f);
  return gate / (one + exp_vector(minus_zero - gate)) * up;
}

template <class Simd>
void silu_mul_vector(const float* gate, const float* up, std::size_t count, float* y) {
  std::size_t i = 0;
  for (; i + Simd::width <= count; i += Simd::width) {
    silu_mul_of(Simd::load(gate + i), Simd::load(up + i)).store(y + i);
  }
  if (const std::size_t left = count - i; left != 0) {
    silu_mul_of(Simd::load_first(gate + i, left), Simd::load_first(up + i, left))
        .store_first(y + i, left);
  }
}

}  // namespace troupe::kernels
