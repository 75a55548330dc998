#include "bench/kernels/synthetic_data.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

namespace troupe::bench {

namespace {

constexpr std::size_t pattern_bytes = 64u << 10;
constexpr std::size_t likely_count = 1000;
constexpr float likely_logit_max = 18.0f;
constexpr float rank_exponent = 1.5f;

}  // namespace

void fill_weight_bytes(std::span<std::byte> bytes) {
  std::minstd_rand random(1);
  const std::size_t drawn = std::min(bytes.size(), pattern_bytes);
  for (auto& byte : bytes.first(drawn))
    byte = static_cast<std::byte>(0x20 | (random() >> 8 & 0x1F));
  for (std::size_t at = drawn; at < bytes.size(); at += drawn) {
    std::memcpy(bytes.data() + at, bytes.data(), std::min(drawn, bytes.size() - at));
  }
}

void fill_weights(dtype type, std::span<std::byte> blocks) {
  fill_weight_bytes(blocks);
  if (type != dtype::q4_1 && type != dtype::q4_k) return;
  const std::size_t block_bytes = layout_of(type)->block_bytes;
  for (std::size_t at = 0; at < blocks.size(); at += block_bytes) {
    std::byte* const block = &blocks[at];
    block[1] = std::byte{0x2C};  // d between 1/16 and 1/8
    if (type == dtype::q4_1) {
      block[3] = std::byte{0xB0};  // the minimum is twice as much below zero
    } else {
      block[3] = std::byte{0x30};  // and subtracted; no scale is zero
      for (std::size_t i = 12; i < 16; ++i) block[i] |= std::byte{1};
    }
  }
}

std::vector<float> some_floats(std::size_t count) {
  std::minstd_rand random(2);
  std::vector<float> x(count);
  for (auto& value : x) value = static_cast<float>(random() % 2048) / 1024.0f - 1.0f;
  return x;
}

std::vector<float> some_logits(std::size_t row_count, std::size_t vocab_size, logits_shape shape) {
  std::minstd_rand random(3);
  std::vector<float> x(row_count * vocab_size);
  for (auto& value : x) {
    int sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<int>(random() % 2048) - 1024;
    value = static_cast<float>(sum) / 480.0f;
  }
  if (shape == logits_shape::flat) return x;
  for (std::size_t row = 0; row < row_count; ++row) {
    for (std::size_t rank = likely_count; rank-- > 0;) {
      x[row * vocab_size + random() % vocab_size] =
          likely_logit_max - rank_exponent * std::log(static_cast<float>(rank + 1));
    }
  }
  return x;
}

}  // namespace troupe::bench
