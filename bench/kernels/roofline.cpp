#include "bench/kernels/roofline.hpp"

namespace troupe::bench {

namespace {

// What is little larger than a private cache stays there for the most part: replacement is no
// strict order of last use, by which nothing would.
bool is_mostly_held(std::size_t bytes, std::size_t cache_bytes) {
  return bytes <= cache_bytes + cache_bytes / 4;
}

double read_rate(const machine_limits& limits, memory_tier tier) {
  switch (tier) {
    case memory_tier::l1: return limits.rate(limit_kind::l1_read);
    case memory_tier::l2: return limits.rate(limit_kind::l2_read);
    case memory_tier::l3: return limits.rate(limit_kind::l3_read);
    case memory_tier::memory: break;
  }
  return limits.memory_rate();
}

}  // namespace

std::string_view to_string(memory_tier tier) {
  switch (tier) {
    case memory_tier::l1: return "l1";
    case memory_tier::l2: return "l2";
    case memory_tier::l3: return "l3";
    case memory_tier::memory: return "memory";
  }
  return "";
}

memory_tier tier_of(const cache_sizes& sizes, std::size_t walked_bytes, std::size_t thread_count) {
  const std::size_t share = walked_bytes / thread_count;
  if (is_mostly_held(share, sizes.l1_bytes)) return memory_tier::l1;
  if (is_mostly_held(share, sizes.l2_bytes)) return memory_tier::l2;
  return walked_bytes <= sizes.l3_bytes ? memory_tier::l3 : memory_tier::memory;
}

void add_multiplications(const kernels::packed_matrix& matrix, std::size_t row_count,
                         kernel_work& work) {
  double& operations = !matrix.wants_quantized()                      ? work.float_operations
                       : multiplies_in_bf16(matrix.instruction_set()) ? work.bf16_operations
                                                                      : work.int8_operations;
  operations += 2.0 * static_cast<double>(row_count) *
                static_cast<double>(matrix.row_count() * matrix.column_count());
}

roofline roofline_of(const kernel_work& work, const machine_limits& limits) {
  double compute_seconds = work.int8_operations / limits.rate(limit_kind::int8_dot) +
                           work.float_operations / limits.rate(limit_kind::f32_fma);
  // Not every machine has it, and only those that have it do any.
  if (work.bf16_operations > 0.0)
    compute_seconds += work.bf16_operations / limits.rate(limit_kind::bf16_dot);
  return {.compute_seconds = compute_seconds,
          .bytes_seconds = work.bytes / read_rate(limits, work.tier)};
}

std::string_view binding_limit(const kernel_work& work, const machine_limits& limits) {
  const roofline times = roofline_of(work, limits);
  if (times.bytes_seconds >= times.compute_seconds) return to_string(work.tier);
  const double float_seconds = work.float_operations / limits.rate(limit_kind::f32_fma);
  if (float_seconds * 2.0 > times.compute_seconds) return "f32";
  return work.bf16_operations > 0.0 ? "bf16" : "int8";
}

}  // namespace troupe::bench
