// The loops that measure what a core can do at most, one table for each instruction set. Each keeps
// enough independent chains in flight to hide the latency of its instruction, and hides its
// operands from the compiler where that could compute a product once and reuse it. Plain data only:
// this header is compiled with different instruction sets.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::bench {

/// An arithmetic loop without memory. The result depends on every operation and means nothing.
struct compute_loop {
  std::uint64_t (*run)(std::size_t round_count) = nullptr;
  double operations_per_round = 0.0;  ///< a multiplication and its addition are two
};

struct limit_loops {
  compute_loop int8_dot;  ///< unsigned times signed bytes, summed in 32 bits
  compute_loop f32_fma;   ///< multiply and add
  /// Reads [first, first + byte_count); byte_count is a multiple of read_step_bytes, first of 64. A
  /// distance other than zero prefetches that far ahead, up to distance behind the end.
  std::uint64_t (*read)(const std::byte* first, std::size_t byte_count,
                        std::size_t prefetch_bytes) = nullptr;
};

inline constexpr std::size_t read_step_bytes = 1024;

extern const limit_loops limit_loops_sse2;
extern const limit_loops limit_loops_avx2;
extern const limit_loops limit_loops_avx512;  ///< with VNNI
extern const compute_loop bf16_dot_avx512;    ///< VDPBF16PS, which not every AVX-512 machine has
extern const compute_loop bf16_tiles_amx;     ///< TDPBF16PS

}  // namespace troupe::bench
