// block_maxima on vectors, for *_avx2.cpp and *_avx512.cpp; Simd is one of kernels/base/simd_*.hpp.
#pragma once

#include <cstddef>

#include "kernels/base/simd_lanes.hpp"
#include "kernels/block_maxima/block_maxima.hpp"

namespace troupe::kernels {

template <class Simd>
void block_maxima_vector(const float* values, std::size_t block_count, float* maxima) {
  for (std::size_t block = 0; block < block_count; ++block, values += maxima_block) {
    auto largest = sixteen_lanes<Simd>::broadcast(-__builtin_inff());
    for (std::size_t i = 0; i < maxima_block; i += 16) {
      // Of a NaN and a number, max takes its second argument.
      for (std::size_t part = 0; part < largest.part_count; ++part) {
        largest.parts[part] =
            Simd::max(Simd::load(values + i + part * Simd::width), largest.parts[part]);
      }
    }
    maxima[block] = largest.largest();
  }
}

}  // namespace troupe::kernels
