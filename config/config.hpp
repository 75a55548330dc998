#pragma once
// (interim)
#include <array>
#include <cstdint>
#include <string>
#include <vector>
namespace troupe {
struct lane_config { std::uint32_t max_queued = 0; };
struct server_config {
  std::string model, served_model_name;
  std::uint32_t max_model_len = 0, max_num_seqs = 256, max_num_batched_tokens = 4096, max_batch_size = 32, max_num_batches = 32, batch_size = 16, block_size = 16, max_num_queued_reqs = 1024, threads = 0;
  double gpu_memory_utilization = 0.95, cpu_kv_cache_gib = 0;
  double kv_offload_gib = 0;  ///< host memory for blocks that the device evicts; 0: no such tier
  std::string kv_cache_dtype = "f16", isa = "auto", http = "127.0.0.1:8000", zmq = "tcp://127.0.0.1:5555", log_level = "info";
  bool enable_prefix_caching = true, enable_chunked_prefill = true;
  int compute_nice = 10;
  std::vector<std::string> api_key;
  std::uint32_t drain_grace_ms = 5000, resume_ms_max = 30000, heartbeat_ms = 2000, client_timeout_ms = 10000;
  std::array<lane_config, 3> lanes{};
};
}
