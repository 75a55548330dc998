// y[m][n] = sum over k of x[m][k] * w[n][k] (+ bias[n]): linear layers over GGUF weights.
//
// Numerics, the same for every variant and every number of rows M (batch invariance, and all
// variants give the same bits as the reference):
//  - Quantized weights: each is w = d * (q - offset) + m per group of 32 (16 for Q6_K) along K,
//  with
//    unsigned q. Activations are quantized per (row, group of 32): scale a = max|x| / 127, values
//    round to nearest even. Per group, dot(q, x8) - offset * sum(x8) is exact in int32 and
//    converted to float; acc = fma(float(dot), d * a, acc), and where the type has minima, acc_min
//    = fma(m, a * sum(x8), acc_min). Groups ascend along K, one accumulator (and one for minima)
//    per output; y = (acc + acc_min) (+ bias).
//  - F32, F16, BF16, F8 weights: widened to float; acc = fma(w, x, acc) with K ascending.
// SIMD lanes are outputs n; neither threads nor unrolling split K.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "kernels/base/aligned_buffer.hpp"
#include "kernels/base/cpu_features.hpp"
#include "kernels/base/dtype.hpp"
#include "kernels/base/result.hpp"
#include "kernels/base/thread_pool.hpp"
#include "kernels/matmul/packed_layout.hpp"

namespace troupe::kernels {

inline constexpr std::size_t activation_group_size = 32;

/// Activations quantized per (row, group of 32). Reused between calls: it only grows.
class quantized_rows {
 public:
  /// Makes room for rows x columns; columns is padded to a multiple of the group size with zeros.
  /// Earlier contents are lost.
  void resize(std::size_t row_count, std::size_t column_count);
  [[nodiscard]] std::size_t row_count() const noexcept { return row_count_; }
  [[nodiscard]] std::size_t column_count() const noexcept { return column_count_; }
  [[nodiscard]] std::size_t group_count() const noexcept {
    return (column_count_ + activation_group_size - 1) / activation_group_size;
  }
  std::int8_t* values(std::size_t row) noexcept {
    return values_.data() + row * group_count() * activation_group_size;
  }
  const std::int8_t* values(std::size_t row) const noexcept {
    return values_.data() + row * group_count() * activation_group_size;
  }
  float* scales(std::size_t row) noexcept { return scales_.data() + row * group_count(); }
  const float* scales(std::size_t row) const noexcept {
    return scales_.data() + row * group_count();
  }
  std::int32_t* sums(std::size_t row) noexcept { return sums_.data() + row * group_count() * 2; }
  /// Two sums a group: of its first and of its second 16 values (Q6_K needs halves).
  const std::int32_t* sums(std::size_t row) const noexcept {
    return sums_.data() + row * group_count() * 2;
  }
  /// The same rows once more, interleaved for the panel kernels: group_count() groups of rows
  /// 16 * index .. 16 * index + 15.
  const activation_group* tile(std::size_t index) const noexcept {
    return tiles_.data() + index * group_count();
  }

 private:
  friend void quantize_row(isa set, const float* x, std::size_t row, quantized_rows& out);

  std::size_t row_count_ = 0, column_count_ = 0;
  aligned_buffer<std::int8_t> values_;
  aligned_buffer<float> scales_;
  aligned_buffer<std::int32_t> sums_;
  aligned_buffer<activation_group> tiles_;
};

/// Quantizes one row of column_count floats into row `row` of out (which is already sized).
/// Different rows may be quantized at the same time. A group whose max|x| is zero, below 3.8e-37
/// (127 / max is not finite) or not finite gets zeros for values; its scale max / 127 then carries
/// a NaN or infinity on, so that the outputs show it.
void quantize_row(isa set, const float* x, std::size_t row, quantized_rows& out);

/// One weight matrix, repacked for an instruction set. Immutable after packing; shareable between
/// threads.
class packed_matrix {
 public:
  /// rows: row_count x column_count elements of `type` in GGUF's row layout (row_count output
  /// features). Packs in parallel on the pool. Errors: unsupported type or a column count that is
  /// not whole blocks.
  static result<packed_matrix> pack(isa set, dtype type, std::span<const std::byte> rows,
                                    std::size_t row_count, std::size_t column_count,
                                    thread_pool& pool);
  packed_matrix(packed_matrix&&) noexcept;
  packed_matrix& operator=(packed_matrix&&) noexcept;
  ~packed_matrix();

  [[nodiscard]] std::size_t row_count() const noexcept;     ///< N, outputs
  [[nodiscard]] std::size_t column_count() const noexcept;  ///< K
  [[nodiscard]] dtype type() const noexcept;
  [[nodiscard]] isa instruction_set() const noexcept;
  [[nodiscard]] bool wants_quantized()
      const noexcept;  ///< true: reads matmul_job::quantized, else ::floats
  [[nodiscard]] std::size_t size_bytes() const noexcept;

  struct state;
  [[nodiscard]] const state& packed() const noexcept { return *state_; }

 private:
  explicit packed_matrix(std::unique_ptr<state> owned);
  std::unique_ptr<state> state_;
};

struct matmul_job {
  const packed_matrix* weight = nullptr;
  const quantized_rows* quantized = nullptr;  ///< M rows; read when weight->wants_quantized()
  const float* floats = nullptr;              ///< M x K; read otherwise
  std::size_t floats_stride = 0;              ///< elements between rows
  const float* bias = nullptr;                ///< N values or nullptr
  float* output = nullptr;                    ///< M x N; must not alias the inputs
  std::size_t output_stride = 0;
};

/// Runs the jobs, all with the same M, in one parallel region (so that Q, K and V cost one
/// barrier).
void matmul(std::span<const matmul_job> jobs, std::size_t row_count, thread_pool& pool);

}  // namespace troupe::kernels
