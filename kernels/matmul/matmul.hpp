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
//  - Q4_1 and Q4_K may take minima for zero points (on machines where that is faster) where zero
//    lies between the weights of each group of the matrix, or near them: m becomes d / 64 * p with
//    the nearest integer p, and the group's integer is 8 * dot(q, x8) + (p * sum(x8) + 4 >> 3),
//    times d / 8. It saves a multiply-add for each group. Other matrices, and those for bf16, keep
//    their minima.
//  - Quantized weights with isa::amx and isa::bf16_reference: x is rounded to bf16 (to nearest
//  even). w is made an f16: d and m of the group as f16 (an integer factor of a K-quant is
//  multiplied in f16; without minima m = -offset * d), w = fma(q, d, m) in f16; then the lower 3
//  bits of its significand are cut, and below 2^-22 it counts as zero. Per group, of each four
//  columns 0, 2, 1, 3 in turn are the first and the second of a pair; the products of the firsts
//  and of the seconds are each summed by fused multiply-adds from zero with K ascending; y += (sum
//  of firsts + sum of seconds); groups ascend. Denormal inputs and results of these sums are zero.
//  It is what tile instructions do (Intel SDM, TDPBF16PS). bf16_layout.hpp has the powers of two
//  that keep all this in range.
//  - F32, F16, BF16, F8 weights: widened to float; acc = fma(w, x, acc) with K ascending.
// SIMD lanes are outputs n; neither threads nor unrolling split K.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "kernels/base/aligned_buffer.hpp"
#include "kernels/base/cpu_features.hpp"
#include "kernels/base/dtype.hpp"
#include "kernels/base/epilogue.hpp"
#include "kernels/base/page_arena.hpp"
#include "kernels/base/result.hpp"
#include "kernels/base/thread_pool.hpp"
#include "kernels/matmul/packed_layout.hpp"
#include "kernels/matmul/read_ahead.hpp"

namespace troupe::kernels {

inline constexpr std::size_t activation_group_size = 32;

/// Activations as a variant multiplies them: quantized per (row, group of 32), or rounded to bf16.
/// Reused between calls: it only grows.
class quantized_rows {
 public:
  /// Makes room for rows x columns; columns is padded to a multiple of the group size with zeros.
  /// Earlier contents are lost.
  void resize(isa set, std::size_t row_count, std::size_t column_count);
  [[nodiscard]] std::size_t row_count() const noexcept { return row_count_; }
  [[nodiscard]] std::size_t column_count() const noexcept { return column_count_; }
  [[nodiscard]] std::size_t group_count() const noexcept {
    return (column_count_ + activation_group_size - 1) / activation_group_size;
  }
  [[nodiscard]] std::int8_t value(std::size_t row, std::size_t column) const noexcept {
    return group_of(row, column / activation_group_size)
        .values[row % tile_rows][column % activation_group_size];
  }
  [[nodiscard]] float scale(std::size_t row, std::size_t group) const noexcept {
    return part(row, group).scale[row % part_rows];
  }
  /// Row `row` is row `row % 8` of it.
  [[nodiscard]] const activation_part& part(std::size_t row, std::size_t group) const noexcept {
    return group_of(row, group).part[row % tile_rows / part_rows];
  }
  /// Row `row` is row `row % 16` of it.
  [[nodiscard]] const activation_group& group_of(std::size_t row,
                                                 std::size_t group) const noexcept {
    return tile(row / tile_rows)[group];
  }
  /// group_count() groups of rows 16 * index .. 16 * index + 15, as the panel kernels read them.
  [[nodiscard]] const activation_group* tile(std::size_t index) const noexcept {
    return is_bf16_ ? nullptr : tiles_.data() + index * group_count();
  }
  /// The same in bf16.
  [[nodiscard]] const bf16_group* bf16_tile(std::size_t index) const noexcept {
    return is_bf16_ ? bf16_tiles_.data() + index * group_count() : nullptr;
  }
  [[nodiscard]] bool is_bf16() const noexcept { return is_bf16_; }
  /// What formats with zero points look up is there.
  [[nodiscard]] bool has_offset_sums() const noexcept { return has_offset_sums_; }

 private:
  friend void quantize_block(isa set, const float_block& x, std::size_t row_first,
                             std::size_t column_first, quantized_rows& out);

  std::size_t row_count_ = 0, column_count_ = 0;
  bool is_bf16_ = false, has_offset_sums_ = false;
  aligned_buffer<activation_group> tiles_;
  aligned_buffer<bf16_group> bf16_tiles_;
};

/// Quantizes one row of column_count floats into row `row` of out (which was sized for the set), or
/// rounds it.
/// Threads may quantize different rows at the same time (whole parts of 8 rows each, or they share
/// cache lines), or different groups. A group whose max|x| is zero, below 3.8e-37
/// (127 / max is not finite) or not finite gets zeros for values; its scale max / 127 then carries
/// a NaN or infinity on, so that the outputs show it.
void quantize_row(isa set, const float* x, std::size_t row, quantized_rows& out);
/// The same for a block, which goes to rows row_first .. and columns column_first .. Its columns
/// begin with a group, and end with one or with the row. (Eight rows at once cost half of what they
/// cost one by one on AVX-512.)
void quantize_block(isa set, const float_block& x, std::size_t row_first, std::size_t column_first,
                    quantized_rows& out);

/// What Q4_1 and Q4_K's minima become, for instruction sets that quantize activations: what they
/// are in the file, or zero points where all of a matrix allow it. Part of what names stored
/// blocks.
enum class minima : std::uint8_t { as_in_file, zero_points };

/// What an instruction set multiplies faster on this machine: zero points where additions cost
/// products no time (measured on Zen 4; with two units for both, as Intel has, they would cost a
/// little), minima with sets that multiply in bf16.
minima faster_minima(isa set) noexcept;

/// One weight matrix, repacked for an instruction set. Immutable after packing; shareable between
/// threads.
class packed_matrix {
 public:
  /// rows: row_count x column_count elements of `type` in GGUF's row layout (row_count output
  /// features). Packs in parallel on the pool, into the arena if one is given, which then lives as
  /// long as the matrix. Minima become what is faster, unless one is named. Errors: unsupported
  /// type or a column count that is not whole blocks.
  static result<packed_matrix> pack(isa set, dtype type, std::span<const std::byte> rows,
                                    std::size_t row_count, std::size_t column_count,
                                    thread_pool& pool, std::shared_ptr<page_arena> arena = nullptr,
                                    std::optional<minima> named_minima = std::nullopt);
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
  /// Groups of all panels: what a read_ahead counts. 0 where weights are not multiplied in groups.
  [[nodiscard]] std::size_t group_count() const noexcept;

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
  float* output = nullptr;  ///< M x N, must not alias the inputs; nullptr: for the epilogue only
  std::size_t output_stride = 0;
  bool adds = false;  ///< what is made is added to what `output` holds: output = output + y
};

/// Where some of a job's outputs are.
struct made_outputs {
  float* first = nullptr;  ///< of the range's first row, its first output
  std::size_t stride = 0;  ///< elements between rows

  [[nodiscard]] float* row(std::size_t index) const noexcept { return first + index * stride; }
};

/// A rectangle of outputs that a thread has just made.
struct output_range {
  std::size_t row_first = 0, row_count = 0;  ///< begins with an activation tile
  std::size_t output_first = 0, output_count = 0;
  std::span<const made_outputs> made;  ///< for each job of the set
};

/// What follows on outputs while they are in the cache of the thread that made them.
using matmul_epilogue = epilogue<output_range>;

/// Jobs with the same N whose outputs are made together, range by range (gate and up), and what
/// follows on each range. Ranges begin at multiples of output_multiple. Jobs without an output have
/// theirs in a scratch that lasts as long as the epilogue's call. At most matmul_set_jobs_max jobs.
struct matmul_set {
  std::span<const matmul_job> jobs;
  matmul_epilogue epilogue;
  std::size_t output_multiple = 1;
};
inline constexpr std::size_t matmul_set_jobs_max = 4;

/// Runs all jobs, with the same M, in one parallel region (so that Q, K and V cost one barrier). At
/// most matmul_sets_max sets. What else the memory is asked for meanwhile is claimed from `ahead`.
void matmul(std::span<const matmul_set> sets, std::size_t row_count, thread_pool& pool,
            read_ahead* ahead = nullptr);
inline constexpr std::size_t matmul_sets_max = 16;

/// Rows that a part of a batch of row_count rows should have at least where parts are multiplied
/// apart, each by all weights: what takes many rows at once loses with fewer.
std::size_t rows_alone_min(isa set, std::size_t row_count);

/// One job by itself.
void matmul(const matmul_job& job, std::size_t row_count, thread_pool& pool,
            read_ahead* ahead = nullptr);

}  // namespace troupe::kernels
