// The rows of the schema. A row names no default: that is the initializer in config.hpp.
#include <utility>

#include "config/schema.hpp"

namespace troupe {
namespace {

// Ranges are what the implementation can take, not what is wise.
constexpr double sequences_max = 65'536;
constexpr double tokens_max = 1u << 20;
constexpr double hour_ms = 3'600'000;

std::string flag_of(std::string path) {
  for (char& c : path)
    if (c == '_' || c == '.') c = '-';
  return "--" + path;
}

class table {
 public:
  void group(std::string name) { group_ = std::move(name); }

  config_key& add(std::string path, config_field (*field)(server_config&), std::string doc) {
    config_key key;
    key.flag = flag_of(path);
    key.path = std::move(path);
    key.group = group_;
    key.doc = std::move(doc);
    key.field = field;
    return rows_.emplace_back(std::move(key));
  }

  void number(std::string path, config_field (*field)(server_config&), double min, double max,
              std::string unit, std::string doc) {
    config_key& key = add(std::move(path), field, std::move(doc));
    key.min = min;
    key.max = max;
    key.unit = std::move(unit);
  }

  void choice(std::string path, config_field (*field)(server_config&),
              std::vector<std::string> choices, std::string doc) {
    add(std::move(path), field, std::move(doc)).choices = std::move(choices);
  }

  void alias(std::string name) { rows_.back().alias = std::move(name); }

  /// The key added last is checked, and nothing acts on it yet.
  void later() { rows_.back().acts = false; }

  std::vector<config_key> take() { return std::move(rows_); }

 private:
  std::string group_;
  std::vector<config_key> rows_;
};

template <auto Member>
config_field top(server_config& config) {
  return &(config.*Member);
}

template <std::size_t Lane, auto Member>
config_field in_lane(server_config& config) {
  return &(config.lanes[Lane].*Member);
}

template <auto Member>
config_field in_optimizer(server_config& config) {
  return &(config.optimizer.*Member);
}

using server = server_config;

void add_model(table& rows) {
  rows.group("Model");
  rows.add("model", top<&server::model>, "The model file (GGUF) to serve.");
  rows.add("served_model_name", top<&server::served_model_name>,
           "The name that clients ask for; empty: the file's name without its ending.");
  rows.number("max_model_len", top<&server::max_model_len>, 0, 1u << 22, "tokens",
              "Prompt and output of one sequence together; 0: the model's own context.");
}

void add_engine(table& rows) {
  rows.group("Engine");
  rows.number("max_num_seqs", top<&server::max_num_seqs>, 1, sequences_max, "sequences",
              "Sequences that hold blocks and may be in a step.");
  rows.number("max_num_batched_tokens", top<&server::max_num_batched_tokens>, 1, tokens_max,
              "tokens", "Tokens in one step, prefill and decode together.");
  rows.alias("max_tokens");
  rows.number("max_batch_size", top<&server::max_batch_size>, 1, sequences_max, "requests",
              "Requests that may start their prefill in one step.");
  rows.number("max_num_batches", top<&server::max_num_batches>, 1, 4096, "batches",
              "Async batches that one composed order plans ahead: a search orders the first "
              "max_num_batches x batch_size waiting requests, at most 512 (the default); those "
              "behind them keep their order.");
  rows.number("batch_size", top<&server::batch_size>, 1, sequences_max, "requests",
              "Requests that one of those batches counts as. How many run together is bounded by "
              "max_num_seqs and max_batch_size alone.");
  rows.number("block_size", top<&server::block_size>, 16, 256, "tokens",
              "Positions of one KV block: 16, 32, 64, 128 or 256.");
  rows.number("gpu_memory_utilization", top<&server::gpu_memory_utilization>, 0.05, 1, "fraction",
              "Share of a GPU's memory that weights and KV cache may take.");
  rows.later();
  rows.number("cpu_kv_cache_gib", top<&server::cpu_kv_cache_gib>, 0, 65'536, "GiB",
              "Host memory for KV blocks, taken in the background after the start; 0: automatic, "
              "up to 1 GiB or a quarter of "
              "free memory.");
  rows.number("kv_offload_gib", top<&server::kv_offload_gib>, 0, 65'536, "GiB",
              "Host memory for blocks that the cache has to give up, where moving them is cheaper "
              "than computing them again; 0: they are dropped.");
  rows.choice(
      "kv_cache_dtype", top<&server::kv_cache_dtype>, {"auto", "f16", "bf16", "f32", "int8"},
      "What keys and values are rounded to in the cache. auto is bf16 on machines that multiply it "
      "(AVX512_BF16, AMX), else f16. int8 (one scale for each token and head) takes little "
      "more than half of their memory, and is further from the float truth.");
  rows.add("enable_prefix_caching", top<&server::enable_prefix_caching>,
           "Keep the blocks of finished prompts for requests that start the same.");
  rows.add("enable_chunked_prefill", top<&server::enable_chunked_prefill>,
           "Split long prompts over several steps, so that decoding goes on between them.");
  rows.number("max_num_queued_reqs", top<&server::max_num_queued_reqs>, 1, 1u << 20, "requests",
              "Requests that may wait in one lane; beyond it the server answers `overloaded`.");
  rows.number(
      "step_ms_max", top<&server::step_ms_max>, 1, 60'000, "ms",
      "Predicted duration that a step is filled up to; twice that while its request is alone.");
  rows.number(
      "vip_step_ms_max", top<&server::vip_step_ms_max>, 0, 60'000, "ms",
      "The same while a VIP request waits or runs; 0: five eighths of lanes.vip.tpot_ms, and up "
      "to 85 % of it while all that run are ahead of it.");
}

void add_compute(table& rows) {
  rows.group("Compute");
  rows.number("threads", top<&server::threads>, 0, 1024, "threads",
              "Compute threads; 0: one for each logical CPU.");
  rows.number("compute_nice", top<&server::compute_nice>, 0, 19, "",
              "Nice value of compute threads, below the threads that handle messages.");
  rows.choice(
      "isa", top<&server::isa>, {"auto", "reference", "avx2", "avx512", "amx"},
      "Instruction set of the kernels; auto: amx where the machine has it, else the fastest. "
      "amx (Xeons since 2023) multiplies in bf16 instead of 8-bit integers: prompts take "
      "half of the time and many answers at once less, but a single answer's tokens a third "
      "more; avx512 is for those.");
}

void add_server(table& rows) {
  rows.group("Server");
  rows.add("http", top<&server::http>,
           "HTTP address as host:port; empty: no HTTP. Beyond loopback it needs api_key.");
  rows.add(
      "zmq", top<&server::zmq>,
      "ZeroMQ endpoint as tcp://host:port or ipc://path; empty: none. Loopback only, without keys: "
      "clients that no tenant's zmq_identities name are one tenant.");
  rows.add("api_key", top<&server::api_key>,
           "Keys that HTTP clients may present, beside those of tenants; none at all: no check.");
  rows.number("price_per_hour", top<&server::price_per_hour>, 0, 1e6, "dollars",
              "What the machine costs, for the metric dollars_per_1k_tokens; 0: not known.");
  rows.choice("log_level", top<&server::log_level>,
              {"trace", "debug", "info", "warn", "error", "critical", "off"},
              "The least severe messages that are logged.");
  rows.number("drain_grace_ms", top<&server::drain_grace_ms>, 0, hour_ms, "ms",
              "How long running requests may go on after a signal to stop.");
  rows.number("resume_ms_max", top<&server::resume_ms_max>, 0, hour_ms, "ms",
              "How long the reply of a request that has ended is kept for a resume.");
  rows.number(
      "heartbeat_ms", top<&server::heartbeat_ms>, 10, hour_ms, "ms",
      "Between pings; also how long a request whose ZeroMQ client is lost goes on before it is "
      "cancelled.");
  rows.number("client_timeout_ms", top<&server::client_timeout_ms>, 20, hour_ms, "ms",
              "Silence after which a ZeroMQ client that sends pings is taken for gone.");
}

template <std::size_t Lane>
void add_lane(table& rows, const std::string& prefix) {
  rows.number(prefix + "max_queued", in_lane<Lane, &lane_config::max_queued>, 0, 1u << 20,
              "requests", "Requests that may wait in this lane; 0: max_num_queued_reqs.");
  rows.number(
      prefix + "reserved_fraction", in_lane<Lane, &lane_config::reserved_fraction>, 0, 0.9,
      "fraction",
      "Share of the sequences and of the KV blocks that this lane is sure of. What it does not use "
      "is lent to the others, and taken back from lower lanes by preemption.");
  rows.number(prefix + "ttft_ms", in_lane<Lane, &lane_config::ttft_ms>, 0, hour_ms, "ms",
              "Target of the time to the first token, reported as lane_sla_attainment where the "
              "lane has a target; 0: none.");
  rows.number(prefix + "ttft_prompt_tokens", in_lane<Lane, &lane_config::ttft_prompt_tokens>, 1,
              tokens_max, "tokens",
              "Prompts up to this length have ttft_ms; longer ones in proportion more.");
  rows.number(prefix + "tpot_ms", in_lane<Lane, &lane_config::tpot_ms>, 0, hour_ms, "ms",
              "Target of a request's mean time per output token after the first; 0: none.");
}

void add_lanes(table& rows) {
  rows.group("Lanes");
  add_lane<vip_lane>(rows, "lanes.vip.");
  add_lane<realtime_lane>(rows, "lanes.realtime.");
  rows.number(
      "lanes.realtime.max_wait_ms", in_lane<realtime_lane, &lane_config::max_wait_ms>, 0, 60'000,
      "ms",
      "Requests that are due within this time of each other go by cost; none waits longer for "
      "that, and none at all while the engine has room.");
  add_lane<async_lane>(rows, "lanes.async.");
  rows.number("lanes.async.max_delay_ms", in_lane<async_lane, &lane_config::max_delay_ms>, 0,
              hour_ms, "ms", "The longest that a request is held for a better batch.");
  rows.number(
      "lanes.async.compose_ms_max", in_lane<async_lane, &lane_config::compose_ms_max>, 0, 1'000,
      "ms",
      "Processor time of one search for a better order of what waits, about once a second; 0: "
      "by arrival.");
}

void add_optimizer(table& rows) {
  rows.group("Optimizer");
  rows.choice("optimizer.type", in_optimizer<&optimizer_config::type>, {"none", "speculative"},
              "speculative: draft several tokens and verify them in one step.");
  rows.later();
  rows.number("optimizer.spec_num_candidates", in_optimizer<&optimizer_config::spec_num_candidates>,
              1, 64, "tokens", "Tokens drafted at once.");
  rows.later();
  rows.number("optimizer.spec_threshold", in_optimizer<&optimizer_config::spec_threshold>, 0, 1,
              "probability", "Drafting stops below this confidence.");
  rows.later();
}

std::vector<config_key> make_schema() {
  table rows;
  add_model(rows);
  add_engine(rows);
  add_compute(rows);
  add_server(rows);
  add_lanes(rows);
  add_optimizer(rows);
  return rows.take();
}

}  // namespace

const std::vector<config_key>& config_schema() {
  static const std::vector<config_key> schema = make_schema();
  return schema;
}

}  // namespace troupe
