// The softmax numerators of one segment's scores, several rows at a time: the maxima and sums of
// one row wait for each other. Each lane's sum ascends over the keys, so a tiling changes no bits.
// Simd is one of kernels/base/simd_*.hpp; for *_avx2.cpp, *_avx512.cpp and *_amx.cpp only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention/attention_pairs.hpp"
#include "kernels/attention/attention_tiles.hpp"
#include "kernels/attention/soft_weight.hpp"
#include "kernels/base/simd_lanes.hpp"

namespace troupe::kernels {

/// Rows that soften together: their accumulators, maxima and the constants of soft_weigher fit
/// the registers.
inline constexpr std::size_t soft_rows_max = 4;

/// What becomes of the scores: floats in their place, bf16 values behind soft_rows::weights, or
/// floats in their place that are rounded to bf16.
enum class soft_weights { floats, bf16, rounded };

/// Of consecutive rows.
struct soft_rows {
  float* scores;           ///< attention_row_stride elements apart
  std::uint16_t* weights;  ///< attention_pair_stride apart
  float* maxima;
  float* sums;
  detail::soft_scale soft;

  [[nodiscard]] float* score(std::size_t row, std::size_t key) const {
    return scores + row * attention_row_stride + key;
  }
};

/// Lanes past a row's last key may hold anything (a later row's key or an unwritten one); up to
/// padded they become -inf, which is neutral for the maximum and adds zero. In whole vectors,
/// because a load of several recent stores waits for all of them.
template <class Simd>
void hide_keys(float* scores, std::size_t key_count, std::size_t padded) {
  for (std::size_t k = key_count / Simd::width * Simd::width; k < padded; k += Simd::width) {
    const std::size_t left = key_count > k ? key_count - k : 0;
    Simd::first_of(Simd::load(scores + k), left, Simd::broadcast(-__builtin_inff()))
        .store(scores + k);
  }
}

/// The weights of Simd::width keys, as they are added to the sum.
template <class Simd, soft_weights Weights>
inline __attribute__((always_inline)) Simd soften_vector(const soft_rows& rows, std::size_t row,
                                                         std::size_t key, Simd maximum,
                                                         const soft_weigher<Simd>& weigh) {
  float* const at = rows.score(row, key);
  const Simd weight = weigh(Simd::load(at) - maximum);
  if constexpr (Weights == soft_weights::bf16) {
    weight.store_normal_bf16(rows.weights + row * attention_pair_stride + key);
  } else if constexpr (Weights == soft_weights::rounded) {
    weight.rounded_to_bf16().store(at);
  } else {
    weight.store(at);
  }
  return weight;
}

/// Rows row .. row + Rows - 1; keys_of(row), ascending, is how many keys a row sees.
template <class Simd, soft_weights Weights, std::size_t Rows, class KeysOf>
void soften_together(const soft_rows& rows, std::size_t row, const KeysOf& keys_of) {
  using lanes = sixteen_lanes<Simd>;
  constexpr std::size_t part_count = Rows * lanes::part_count;
  const std::size_t padded = (keys_of(row + Rows - 1) + 15) / 16 * 16;
  const soft_weigher<Simd> weigh(rows.soft);
  lanes highest[Rows], sums[Rows];
  Simd maximum[Rows];
  for (std::size_t r = 0; r < Rows; ++r) {
    hide_keys<Simd>(rows.score(row + r, 0), keys_of(row + r), padded);
    highest[r] = lanes::broadcast(-__builtin_inff());
    sums[r] = lanes::broadcast(0.0f);
  }
  for (std::size_t k = 0; k < padded; k += 16) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < part_count; ++i) {
      const std::size_t r = i % Rows, part = i / Rows;
      Simd& best = highest[r].parts[part];
      best = Simd::max(Simd::load(rows.score(row + r, k + part * Simd::width)), best);
    }
  }
  for (std::size_t r = 0; r < Rows; ++r) {
    rows.maxima[row + r] = highest[r].largest();
    maximum[r] = Simd::broadcast(rows.maxima[row + r]);
  }
  for (std::size_t k = 0; k < padded; k += 16) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < part_count; ++i) {
      const std::size_t r = i % Rows, part = i / Rows;
      Simd& sum = sums[r].parts[part];
      sum = sum +
            soften_vector<Simd, Weights>(rows, row + r, k + part * Simd::width, maximum[r], weigh);
    }
  }
  for (std::size_t r = 0; r < Rows; ++r) rows.sums[row + r] = sums[r].sum();
}

template <class Simd, soft_weights Weights, class KeysOf>
void soften_rows(const soft_rows& rows, std::size_t row_count, const KeysOf& keys_of) {
  std::size_t row = 0;
  for (; row + soft_rows_max <= row_count; row += soft_rows_max) {
    soften_together<Simd, Weights, soft_rows_max>(rows, row, keys_of);
  }
  switch (row_count - row) {
    case 3: return soften_together<Simd, Weights, 3>(rows, row, keys_of);
    case 2: return soften_together<Simd, Weights, 2>(rows, row, keys_of);
    case 1: return soften_together<Simd, Weights, 1>(rows, row, keys_of);
    default: return;
  }
}

}  // namespace troupe::kernels
