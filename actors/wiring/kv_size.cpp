#include <algorithm>

#include <fmt/format.h>

#include "actors/wiring/engine.hpp"
#include "config/limits.hpp"

namespace troupe {

namespace {

constexpr std::uint64_t gib = std::uint64_t{1} << 30;

double in_gib(std::uint64_t bytes) {
  return static_cast<double>(bytes) / static_cast<double>(gib);
}

}  // namespace

result<std::uint32_t> kv_block_count(const server_config& config, const kernels::kv_layout& layout,
                                     std::size_t layer_count, std::uint32_t max_model_len,
                                     std::uint64_t free_bytes) {
  const std::uint64_t block_bytes = layout.block_bytes() * layer_count;
  const std::uint64_t needed_blocks =
      (max_model_len + layout.block_tokens - 1) / layout.block_tokens;
  const std::uint64_t needed_bytes = needed_blocks * block_bytes;
  const std::uint64_t wanted_bytes =
      config.cpu_kv_cache_gib > 0
          ? static_cast<std::uint64_t>(config.cpu_kv_cache_gib * static_cast<double>(gib))
          : std::max(std::min(gib, free_bytes / 4), needed_bytes);
  if (wanted_bytes > free_bytes)
    return error{
        errc::out_of_memory,
        fmt::format("the KV cache needs {:.2f} GiB but only {:.2f} GiB of memory are free; lower "
                    "cpu_kv_cache_gib or max_model_len",
                    in_gib(wanted_bytes), in_gib(free_bytes))};
  if (wanted_bytes < needed_bytes)
    return error{
        errc::out_of_memory,
        fmt::format(
            "one sequence of max_model_len {} tokens needs {:.2f} GiB of KV cache, but "
            "cpu_kv_cache_gib is {:.2f}; raise it to at least {:.2f} or lower max_model_len",
            max_model_len, in_gib(needed_bytes), config.cpu_kv_cache_gib,
            in_gib(needed_bytes) + 0.005)};
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(wanted_bytes / block_bytes, limits::block_count_max));
}

result<std::size_t> kv_offload_bytes(const server_config& config, std::uint64_t free_bytes) {
  if (config.kv_offload_gib == 0) return std::size_t{0};
  if (!(config.kv_offload_gib > 0))
    return error{errc::invalid_argument,
                 fmt::format("kv_offload_gib is {}, but must be 0 or more", config.kv_offload_gib)};
  if (!config.enable_prefix_caching)
    return error{errc::invalid_argument,
                 "kv_offload_gib needs enable_prefix_caching: only cached blocks are offloaded"};
  if (config.kv_offload_gib > in_gib(free_bytes))
    return error{errc::out_of_memory,
                 fmt::format("kv_offload_gib is {:.2f} but only {:.2f} GiB of memory are free",
                             config.kv_offload_gib, in_gib(free_bytes))};
  return static_cast<std::size_t>(config.kv_offload_gib * static_cast<double>(gib));
}

}  // namespace troupe
