#include "runtime/simulate/hardware.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace troupe::simulate {
namespace {

constexpr double ms_per_s = 1e3, us_per_ms = 1e3;
constexpr double bytes_per_gib = 1024.0 * 1024.0 * 1024.0;
/// Rows of a prefill that share one reading of their keys and values: the query tile of
/// FlashAttention-2 and later (Dao, 2023, section 3.3).
constexpr double query_tile_rows = 128.0;
/// All-reduces of one layer under tensor parallelism: behind attention and behind the MLP
/// (Shoeybi et al., "Megatron-LM", 2019, section 3).
constexpr double all_reduces_per_layer = 2.0;
constexpr double activation_bytes = 2.0;

const std::array<accelerator, 3>& table() {
  static const std::array<accelerator, 3> cards{{
      {.name = "h100_sxm5",
       .title = "NVIDIA H100 SXM5 80 GB",
       .bf16_tflops = 989.4,
       .fp8_tflops = 1978.9,
       .int8_tops = 1978.9,
       .memory_gb_per_s = 3350.0,
       .memory_gib = 80.0,
       .link_gb_per_s = 450.0,
       .compute_efficiency = 0.6,
       .memory_efficiency = 0.8,
       .link_efficiency = 0.7,
       .step_overhead_ms = 0.5,
       .sequence_overhead_us = 2.0,
       .link_latency_us = 10.0,
       .usd_per_hour = 2.90,
       .source =
           "NVIDIA H100 Tensor Core GPU data sheet: dense rates, half of those with sparsity; "
           "NVLink 900 GB/s both directions together",
       .price_source =
           "on-demand list prices of 2026, 2.49 to 3.99 $/h; 2.90 $/h is a median offer",
       .efficiency_source = "assumed: large GEMM reach 60 to 75 % of peak, streaming kernels 80 to "
                            "90 % of bandwidth"},
      {.name = "a800_nvlink",
       .title = "NVIDIA A800 SXM 80 GB, NVLink",
       .bf16_tflops = 312.0,
       .fp8_tflops = 0.0,
       .int8_tops = 624.0,
       .memory_gb_per_s = 2039.0,
       .memory_gib = 80.0,
       .link_gb_per_s = 200.0,
       .compute_efficiency = 0.65,
       .memory_efficiency = 0.8,
       .link_efficiency = 0.7,
       .step_overhead_ms = 0.6,
       .sequence_overhead_us = 2.0,
       .link_latency_us = 12.0,
       .usd_per_hour = 1.64,
       .source = "NVIDIA A100 80 GB data sheet; the A800 is the same card with NVLink at 400 GB/s, "
                 "both directions together, instead of 600",
       .price_source =
           "on-demand price of an A100 80 GB in 2026, 1.49 to 2.49 $/h: the A800 has no "
           "public list price",
       .efficiency_source = "assumed, as of the H100; its tensor cores are easier to keep busy"},
      {.name = "jetson_agx_orin",
       .title = "NVIDIA Jetson AGX Orin 64 GB",
       .bf16_tflops = 42.5,
       .fp8_tflops = 0.0,
       .int8_tops = 85.0,
       .memory_gb_per_s = 204.8,
       .memory_gib = 64.0,
       .link_gb_per_s = 0.0,
       .compute_efficiency = 0.5,
       .memory_efficiency = 0.7,
       .link_efficiency = 1.0,
       .step_overhead_ms = 2.0,
       .sequence_overhead_us = 10.0,
       .link_latency_us = 0.0,
       .usd_per_hour = 0.085,
       .source = "NVIDIA Jetson AGX Orin technical brief: 170 sparse INT8 TOPS of the GPU are 85 "
                 "dense; the DLA's 105 are not used; memory is shared with the CPU",
       .price_source = "assumed: 1,999 $ over three years of use and 60 W at 0.15 $/kWh",
       .efficiency_source = "assumed: lower than of server cards, memory is shared with the host"},
  }};
  return cards;
}

double tera_operations(const accelerator& card, number_format format) {
  switch (format) {
    case number_format::bf16: return card.bf16_tflops;
    case number_format::fp8: return card.fp8_tflops;
    case number_format::int8: return card.int8_tops;
    case number_format::int4: return card.bf16_tflops;  // unpacked to bf16 before the product
  }
  return 0.0;
}

/// Milliseconds of link for one token of a step, and of latency for the step itself.
linear_cost overhead_of(const accelerator& card, std::uint32_t cards, const model_shape& model) {
  linear_cost cost{.step = card.step_overhead_ms,
                   .decode_sequence = card.sequence_overhead_us / us_per_ms};
  if (cards == 1) return cost;
  const double reductions = all_reduces_per_layer * model.layers;
  // A ring moves 2 (n - 1) / n of the data over each card's link.
  const double bytes = reductions * model.hidden * activation_bytes * 2.0 * (cards - 1.0) / cards;
  const double token_ms = bytes / (card.link_gb_per_s * 1e9 * card.link_efficiency) * ms_per_s;
  cost.step += reductions * card.link_latency_us / us_per_ms;
  cost.decode_sequence += token_ms;
  cost.prefill_token += token_ms;
  return cost;
}

}  // namespace

std::string_view to_string(number_format format) noexcept {
  switch (format) {
    case number_format::bf16: return "bf16";
    case number_format::fp8: return "fp8";
    case number_format::int8: return "int8";
    case number_format::int4: return "int4";
  }
  return "bf16";
}

double bytes_of(number_format format) noexcept {
  switch (format) {
    case number_format::bf16: return 2.0;
    case number_format::fp8:
    case number_format::int8: return 1.0;
    case number_format::int4: return 0.5625;  // with a half-precision scale for 32 weights
  }
  return 2.0;
}

std::span<const accelerator> accelerators() {
  return table();
}

result<accelerator> find_accelerator(std::string_view name) {
  std::string known;
  for (const accelerator& each : table()) {
    if (each.name == name) return each;
    known += (known.empty() ? "" : ", ") + each.name;
  }
  return error{errc::invalid_argument,
               fmt::format("no accelerator is called \"{}\"; there are {}", name, known)};
}

double model_shape::weight_bytes() const {
  const double head = double{1} * hidden * vocab;
  return parameters * bytes_of(weights) + head * bytes_of(number_format::bf16);
}

double model_shape::kv_bytes_per_token() const {
  return 2.0 * layers * kv_heads * head_dim * kv_bytes;
}

result<step_cost> roofline(const accelerator& card, std::uint32_t cards, const model_shape& model) {
  const double tera = tera_operations(card, model.weights);
  if (tera == 0.0)
    return error{errc::invalid_argument,
                 fmt::format("{} has no {} units", card.title, to_string(model.weights))};
  if (cards > 1 && card.link_gb_per_s == 0.0)
    return error{errc::invalid_argument, fmt::format("{} has no links between cards", card.title)};
  if (model.weight_bytes() > cards * card.memory_gib * bytes_per_gib)
    return error{errc::invalid_argument,
                 fmt::format("{:.0f} GB of weights do not fit {} x {:.0f} GiB",
                             model.weight_bytes() / 1e9, cards, card.memory_gib)};
  const double operations_per_ms = tera * 1e12 * card.compute_efficiency * cards / ms_per_s;
  // Attention and the head compute in bf16 whatever the weights are.
  const double bf16_per_ms = card.bf16_tflops * 1e12 * card.compute_efficiency * cards / ms_per_s;
  const double bytes_per_ms =
      card.memory_gb_per_s * 1e9 * card.memory_efficiency * cards / ms_per_s;
  const double token_ms = 2.0 * model.parameters / operations_per_ms;
  const double pair_ms = 4.0 * model.layers * model.heads * model.head_dim / bf16_per_ms;
  const double key_ms = model.kv_bytes_per_token() / bytes_per_ms;
  const double head_ms = 2.0 * model.hidden * model.vocab / bf16_per_ms;
  step_cost cost;
  cost.compute = {0.0, token_ms, token_ms, pair_ms, pair_ms, head_ms, 0.0};
  cost.memory = {model.weight_bytes() / bytes_per_ms,
                 key_ms,
                 key_ms,
                 key_ms / query_tile_rows,
                 key_ms,
                 0.0,
                 0.0};
  cost.overhead = overhead_of(card, cards, model);
  return cost;
}

double peak_tokens_per_s(const accelerator& card, std::uint32_t cards, const model_shape& model) {
  return tera_operations(card, model.weights) * 1e12 * cards / (2.0 * model.parameters);
}

std::uint64_t kv_positions(const accelerator& card, std::uint32_t cards, const model_shape& model,
                           double utilization) {
  const double bytes = cards * card.memory_gib * bytes_per_gib * utilization - model.weight_bytes();
  return bytes <= 0.0 ? 0 : static_cast<std::uint64_t>(bytes / model.kv_bytes_per_token());
}

}  // namespace troupe::simulate
