// How far a piece of work is from what binds it: the larger of its arithmetic at the machine's
// arithmetic limits and its bytes at the limit of the memory they lie in.
#pragma once

#include <cstddef>
#include <string_view>

#include "bench/kernels/machine_limits.hpp"
#include "kernels/base/cache_sizes.hpp"
#include "kernels/matmul/matmul.hpp"

namespace troupe::bench {

/// Where data lie when a kernel reaches for them.
enum class memory_tier { l1, l2, l3, memory };

std::string_view to_string(memory_tier tier);

/// The tier that holds what the threads walk through again and again, split evenly between them; a
/// private cache, most of it.
memory_tier tier_of(const cache_sizes& sizes, std::size_t walked_bytes, std::size_t thread_count);

/// What a call must do at least, whatever the implementation.
struct kernel_work {
  double int8_operations = 0.0;   ///< 2 M N K of a matmul with quantized weights
  double bf16_operations = 0.0;   ///< the same where the variant multiplies in bf16
  double float_operations = 0.0;  ///< a fused multiply-add is two
  double bytes = 0.0;             ///< read and written, each byte once
  memory_tier tier = memory_tier::memory;
};

/// Adds what row_count rows times a matrix take.
void add_multiplications(const kernels::packed_matrix& matrix, std::size_t row_count,
                         kernel_work& work);

struct roofline {
  double compute_seconds = 0.0;  ///< int8, bf16 and float arithmetic one after the other
  double bytes_seconds = 0.0;

  [[nodiscard]] double bound_seconds() const {
    return compute_seconds > bytes_seconds ? compute_seconds : bytes_seconds;
  }
};

roofline roofline_of(const kernel_work& work, const machine_limits& limits);

/// "int8", "bf16", "f32", "l1", "l2", "l3" or "memory".
std::string_view binding_limit(const kernel_work& work, const machine_limits& limits);

}  // namespace troupe::bench
