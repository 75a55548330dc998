// A float buffer at a chosen misalignment between canaries, and bitwise comparison, for kernel
// tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/base/cpu_features.hpp"

namespace troupe::test {

class canary_buffer {
 public:
  explicit canary_buffer(std::size_t count, std::size_t misalignment = 0)
      : count_(count), front_(guard + misalignment), floats_(front_ + count + guard, canary) {}

  float* data() { return floats_.data() + front_; }
  const float* data() const { return floats_.data() + front_; }
  float& operator[](std::size_t i) { return data()[i]; }
  std::size_t size() const { return count_; }

  bool canaries_intact() const {
    for (std::size_t i = 0; i < front_; ++i) {
      if (floats_[i] != canary) return false;
    }
    for (std::size_t i = front_ + count_; i < floats_.size(); ++i) {
      if (floats_[i] != canary) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t guard = 64;
  static constexpr float canary = -12345.678f;
  std::size_t count_;
  std::size_t front_;
  std::vector<float> floats_;
};

inline bool same_bits(const float* a, const float* b, std::size_t count) {
  return count == 0 || std::memcmp(a, b, count * sizeof(float)) == 0;
}

inline std::vector<isa> vector_sets() {
  return {isa::avx2, isa::avx512, isa::amx};
}

inline void fill_normal(float* to, std::size_t count, std::mt19937& random,
                        float deviation = 1.0f) {
  std::normal_distribution<float> normal(0.0f, deviation);
  for (std::size_t i = 0; i < count; ++i) to[i] = normal(random);
}

}  // namespace troupe::test
