// Everything that a server can be told. Plain values; the initializers here are the defaults, and
// the only place of them. schema.cpp gives every field its key, unit, range and text.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace troupe {

/// The service of one lane. Which fields a lane uses: see config_schema().
struct lane_config {
  std::uint32_t max_queued = 0;      ///< 0: max_num_queued_reqs
  double reserved_fraction = 0.0;    ///< of sequences and of blocks: taken back from lower lanes
  std::uint32_t max_wait_ms = 0;     ///< realtime: the longest wait to be batched
  std::uint32_t max_delay_ms = 0;    ///< async: the longest hold while the engine is busy
  std::uint32_t compose_ms_max = 0;  ///< async: one search for a better order; 0: none
  std::uint32_t ttft_ms = 0;         ///< target of time to first token; 0: none
  std::uint32_t ttft_prompt_tokens = 512;  ///< prompts up to which ttft_ms holds
  std::uint32_t tpot_ms = 0;               ///< target of the mean time per output token; 0: none
};

/// Indices of server_config::lanes, in the order of the wire.
inline constexpr std::size_t vip_lane = 0, realtime_lane = 1, async_lane = 2;

/// One entry of the list `tenants`. tenant_schema() gives each field its key.
struct tenant_config {
  std::string name;
  std::vector<std::string> api_keys;
  std::vector<std::string> zmq_identities;  ///< a closing * makes it a prefix
  std::vector<std::string> lanes{"realtime", "async"};
  double tokens_per_second = 0.0;  ///< 0: no limit
  std::uint32_t burst_tokens = 0;  ///< 0: what tokens_per_second gives in ten seconds
  double share = 1.0;
  std::string over_rate = "refuse";
};

struct optimizer_config {
  std::string type = "none";
  std::uint32_t spec_num_candidates = 4;
  double spec_threshold = 0.85;
};

struct server_config {
  // Model
  std::string model;
  std::string served_model_name;
  std::uint32_t max_model_len = 0;

  // Engine
  std::uint32_t max_num_seqs = 256;
  std::uint32_t max_num_batched_tokens = 4096;
  std::uint32_t max_batch_size = 32;
  std::uint32_t max_num_batches = 32;
  std::uint32_t batch_size = 16;
  std::uint32_t block_size = 16;
  double gpu_memory_utilization = 0.95;
  double cpu_kv_cache_gib = 0.0;
  double kv_offload_gib = 0.0;
  std::string kv_cache_dtype = "auto";
  bool enable_prefix_caching = true;
  bool enable_chunked_prefill = true;
  std::uint32_t max_num_queued_reqs = 1024;
  std::uint32_t step_ms_max = 100;
  std::uint32_t vip_step_ms_max = 0;

  // Compute
  std::uint32_t threads = 0;
  int compute_nice = 10;
  std::string isa = "auto";

  // Server
  std::string http = "127.0.0.1:8000";
  std::string zmq = "tcp://127.0.0.1:5555";
  std::vector<std::string> api_key;
  double price_per_hour = 0.0;
  std::string log_level = "info";
  std::uint32_t drain_grace_ms = 5000;
  std::uint32_t resume_ms_max = 30'000;
  std::uint32_t heartbeat_ms = 2000;
  std::uint32_t client_timeout_ms = 10'000;

  /// vip, realtime, async.
  std::array<lane_config, 3> lanes{{
      {.reserved_fraction = 0.25, .ttft_ms = 200, .tpot_ms = 40},
      {.reserved_fraction = 0.25, .max_wait_ms = 100},
      {.reserved_fraction = 0.02, .max_delay_ms = 5000, .compose_ms_max = 20},
  }};

  std::vector<tenant_config> tenants;

  optimizer_config optimizer;

  /// Not a key: those that were set, by file or flag, and on which nothing acts yet.
  std::vector<std::string> idle_keys;
};

}  // namespace troupe
