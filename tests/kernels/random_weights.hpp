// Random weights of every type for tests of matmul, as a file has them.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/base/dtype.hpp"
#include "kernels/base/half.hpp"

namespace troupe::test {

/// A type's weights may be such that all minima become zero points.
struct weight_kind {
  dtype type;
  bool has_zero_points = false;
};

inline std::string name_of(const weight_kind& kind) {
  return std::string(layout_of(kind.type)->name) +
         (kind.has_zero_points ? " with zero points" : "");
}

inline const std::vector<weight_kind> quantized_kinds{
    {dtype::q4_0}, {dtype::q4_1}, {dtype::q4_1, true}, {dtype::q5_0}, {dtype::q5_1},
    {dtype::q8_0}, {dtype::q4_k}, {dtype::q4_k, true}, {dtype::q5_k}, {dtype::q6_k}};
inline const std::vector<weight_kind> float_kinds{
    {dtype::f32}, {dtype::f16}, {dtype::bf16}, {dtype::f8_e4m3}};

inline std::vector<weight_kind> all_kinds() {
  std::vector<weight_kind> all = quantized_kinds;
  all.insert(all.end(), float_kinds.begin(), float_kinds.end());
  return all;
}

// Of a minimum and the step it belongs to: zero lies between the group's weights or near them.
inline float random_minimum(float d, std::mt19937& random) {
  std::uniform_real_distribution<float> zero(-0.8f, 15.9f);
  return -d * zero(random);
}

// Q4_K takes minima off. With a quarter of d, no scale of zero and 63 for the largest factor, they
// are at most 16 steps.
inline void lower_block_minima(std::byte* block) {
  std::uint16_t half;
  std::memcpy(&half, block, sizeof half);
  const std::uint16_t minimum = float_to_half(0.25f * half_to_float(half));
  std::memcpy(block + 2, &minimum, sizeof minimum);
  for (std::size_t i = 0; i < 4; ++i) {
    block[4 + i] |= std::byte{1};
    block[12 + i] |= std::byte{1};
  }
}

// One group of a matrix whose zero point does not fit is enough.
inline void spoil_minimum(dtype type, std::byte* block) {
  std::memcpy(block + 2, block, 2);  // a step
  if (type != dtype::q4_k) return;
  for (std::size_t i = 0; i < 4; ++i) {  // 63 of them
    block[4 + i] = std::byte{1};
    block[8 + i] = std::byte{63};
  }
}

// Random blocks with scales of ordinary size, as a real file has; about one in 16 of them negative.
inline std::vector<std::byte> random_weights(const weight_kind& kind, std::size_t rows,
                                             std::size_t columns, std::mt19937& random) {
  const dtype type = kind.type;
  const auto layout = *layout_of(type);
  const std::size_t blocks = rows * columns / layout.block_elements;
  std::vector<std::byte> bytes(blocks * layout.block_bytes);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random() & 0xFF);
  const auto put_half = [&](std::size_t at) {
    const float magnitude = 0.001f + 0.01f * std::abs(uniform(random));
    const std::uint16_t half = float_to_half(random() % 16 == 0 ? -magnitude : magnitude);
    std::memcpy(bytes.data() + at, &half, sizeof half);
    return half_to_float(half);
  };
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t at = block * layout.block_bytes;
    switch (type) {
      case dtype::f32: {
        const float value = uniform(random);
        std::memcpy(bytes.data() + at, &value, sizeof value);
        break;
      }
      case dtype::f16:
      case dtype::bf16: {
        const float value = uniform(random);
        const std::uint16_t word =
            type == dtype::f16 ? float_to_half(value) : float_to_bfloat(value);
        std::memcpy(bytes.data() + at, &word, sizeof word);
        break;
      }
      case dtype::f8_e4m3:
        if ((bytes[at] & std::byte{0x7F}) == std::byte{0x7F}) bytes[at] = std::byte{0x38};
        break;
      case dtype::q6_k: put_half(at + 208); break;
      case dtype::q4_1:
      case dtype::q5_1:
      case dtype::q4_k:
      case dtype::q5_k: {
        const float d = put_half(at);
        put_half(at + 2);
        if (!kind.has_zero_points) {
          if (block == 0) spoil_minimum(type, bytes.data() + at);
        } else if (type == dtype::q4_1) {
          const std::uint16_t minimum = float_to_half(random_minimum(d, random));
          std::memcpy(bytes.data() + at + 2, &minimum, sizeof minimum);
        } else {
          lower_block_minima(bytes.data() + at);
        }
        break;
      }
      default: put_half(at); break;
    }
  }
  return bytes;
}

}  // namespace troupe::test
