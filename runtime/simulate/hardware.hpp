// What a model's step costs on an accelerator: peak figures from data sheets, each with the share
// of it that real kernels reach, turned into a step_cost by the roofline model (Williams, Waterman
// and Patterson, "Roofline", CACM 2009).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kernels/base/result.hpp"
#include "runtime/simulate/step_cost.hpp"

namespace troupe::simulate {

enum class number_format : std::uint8_t { bf16, fp8, int8, int4 };
std::string_view to_string(number_format format) noexcept;
[[nodiscard]] double bytes_of(number_format format) noexcept;  ///< of one weight

/// One card. Rates are dense (no structured sparsity), of the data sheet; 0: it has no such unit.
struct accelerator {
  std::string name, title;
  double bf16_tflops = 0.0, fp8_tflops = 0.0, int8_tops = 0.0;
  double memory_gb_per_s = 0.0;  ///< 1e9 bytes
  double memory_gib = 0.0;
  double link_gb_per_s = 0.0;  ///< from one card to the others, one direction
  double compute_efficiency = 1.0, memory_efficiency = 1.0, link_efficiency = 1.0;  ///< (0, 1]
  double step_overhead_ms = 0.0;      ///< launching, sampling, planning
  double sequence_overhead_us = 0.0;  ///< the same for each sequence of a step
  double link_latency_us = 0.0;       ///< of one all-reduce
  double usd_per_hour = 0.0;
  std::string source, price_source, efficiency_source;
};

/// The built-in cards.
std::span<const accelerator> accelerators();
/// Error: invalid_argument, naming the known ones.
result<accelerator> find_accelerator(std::string_view name);

struct model_shape {
  std::string name;
  double parameters = 0.0;  ///< of the layers' matrices: neither embeddings nor LM head
  std::uint32_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, vocab = 0;
  number_format weights = number_format::bf16;
  double kv_bytes = 2.0;  ///< of one number of the KV cache

  [[nodiscard]] double weight_bytes() const;
  [[nodiscard]] double kv_bytes_per_token() const;
};

/// Of `cards` equal cards with tensor parallelism. Errors: invalid_argument (no unit for the
/// weights' format; the weights do not fit).
result<step_cost> roofline(const accelerator& card, std::uint32_t cards, const model_shape& model);

/// Tokens a second of arithmetic alone, at the data sheet's rate: two operations a parameter.
double peak_tokens_per_s(const accelerator& card, std::uint32_t cards, const model_shape& model);

/// Positions of KV cache beside the weights when `utilization` of the memory may be used; 0: none.
std::uint64_t kv_positions(const accelerator& card, std::uint32_t cards, const model_shape& model,
                           double utilization);

}  // namespace troupe::simulate
