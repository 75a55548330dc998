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
  /// Folded by halves: 16 -> 8 -> 4 -> 2 -> 1 lanes.
  [[nodiscard]] float sum() const {
    if constexpr (part_count == 2) return (parts[0] + parts[1]).sum();
    return parts[0].sum();
  }
  /// The largest lane. No lane is NaN.
  [[nodiscard]] float largest() const {
    if constexpr (part_count == 2) return Simd::max(parts[0], parts[1]).largest();
    return parts[0].largest();
  }
};

}  // namespace troupe::kernels
