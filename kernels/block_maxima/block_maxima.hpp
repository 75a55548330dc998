// The largest value of each block of a row: the one pass over all logits of a vocabulary, after
// which selections look at few blocks.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/base/cpu_features.hpp"

namespace troupe::kernels {

inline constexpr std::size_t maxima_block =
    64;  ///< values that share one maximum: whole cache lines

/// maxima[b] = the largest of values[64 b] .. values[64 b + 63], the last block possibly shorter.
/// NaN counts as -infinity. maxima has values.size() / 64 elements, rounded up.
void fill_block_maxima(isa set, std::span<const float> values, std::span<float> maxima);

namespace detail {
/// The largest of any number of values; -infinity of none.
float largest_value(const float* values, std::size_t count);
/// Whole blocks only.
void block_maxima_ref(const float* values, std::size_t block_count, float* maxima);
void block_maxima_avx2(const float* values, std::size_t block_count, float* maxima);
void block_maxima_avx512(const float* values, std::size_t block_count, float* maxima);
}  // namespace detail

}  // namespace troupe::kernels
