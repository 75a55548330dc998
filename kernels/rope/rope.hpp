// Rotary position embedding (Su et al. 2021) of the heads of one row, in place. Pair i of a head
// turns by the angle position * frequency[i]:
//
//   a' = fma(a, cos, -(b * sin)),   b' = fma(b, cos, a * sin)
//
// Interleaved pairs are (0, 1), (2, 3), ...; halves are (0, r/2), (1, r/2 + 1), ... with r the
// rotated elements at the front of a head; the rest of a head stays. Cosine and sine come from a
// table whose entries are computed in double and rounded once. Every variant gives the same bits;
// each output is within 2 * 2^-24 * (|a| + |b|) of the exact rotation by the table's angle.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/base/cpu_features.hpp"

namespace troupe::kernels {

/// cosines[i] = factor * cos(position * frequencies[i]), sines alike; both have frequencies.size()
/// entries.
void rope_table_row(std::span<const double> frequencies, std::size_t position, double factor,
                    float* cosines, float* sines);

struct rope_row {
  float* heads = nullptr;  ///< [head_count][head_stride]
  std::size_t head_count = 0;
  std::size_t head_stride = 0;     ///< head_dim; at least 2 * pair_count
  std::size_t pair_count = 0;      ///< half of the rotated elements
  const float* cosines = nullptr;  ///< pair_count values for the row's position
  const float* sines = nullptr;
  bool interleaved = false;
};

/// No alignment is needed; the table must not overlap the heads.
void rope(isa set, const rope_row& row);

namespace detail {
void rope_ref(const rope_row& row);
void rope_avx2(const rope_row& row);
void rope_avx512(const rope_row& row);
}  // namespace detail

}  // namespace troupe::kernels
