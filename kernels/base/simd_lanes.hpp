// Sixteen lanes in as many vectors as it takes, and the one order in which they are folded. For
// *_avx2.cpp and *_avx512.cpp; Simd is one of kernels/base/simd_*.hpp.
#pragma once

#include <cstddef>

namespace troupe::kernels {

template <class Simd>
struct sixteen_lanes {
  static constexpr std::size_t part_count = 16 / Simd::width;
  Simd parts[part_count];

  static sixteen_lanes broadcast(float x) {
    sixteen_lanes out;
    for (auto& part : out.parts) part = Simd::broadcast(x);
    return out;
  }
  /// ((lane i + lane i + 8) + ...): by halves, 16 -> 8 -> 4 -> 2 -> 1.
  [[nodiscard]] float sum() const {
    float lanes[16];
    store(lanes);
    for (std::size_t half = 8; half >= 1; half /= 2) {
      for (std::size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    return lanes[0];
  }
  [[nodiscard]] float max() const {
    float lanes[16];
    store(lanes);
    for (std::size_t half = 8; half >= 1; half /= 2) {
      for (std::size_t i = 0; i < half; ++i) {
        lanes[i] = lanes[i + half] > lanes[i] ? lanes[i + half] : lanes[i];
      }
    }
    return lanes[0];
  }

 private:
  void store(float* lanes) const {
    for (std::size_t part = 0; part < part_count; ++part) {
      parts[part].store(lanes + part * Simd::width);
    }
  }
};

}  // namespace troupe::kernels
