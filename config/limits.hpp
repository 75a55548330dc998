// Every bound of the program that is not a setting (those are keys of config.hpp): what no
// configuration may exceed, and the sizes of queues and tables. One comment a bound: what it holds
// and why it is what it is.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::limits {

// Model files (runtime/model/gguf). A reader never allocates more than a small multiple of the
// file's own bytes; these bounds keep the work finite for files that are huge as well as hostile.

/// Metadata entries of one file. Real files have 20 to 60.
inline constexpr std::uint64_t gguf_entry_count_max = 65'536;
/// The format allows keys of 2^16 - 1 bytes.
inline constexpr std::uint64_t gguf_key_bytes_max = 65'535;
/// One string value. The longest in use are chat templates of tens of kilobytes.
inline constexpr std::uint64_t gguf_string_bytes_max = std::uint64_t{1} << 24;
/// Elements of all metadata arrays of a file together. The largest vocabularies have 262,144 tokens
/// and 520,000 merges; an array element takes at most 32 bytes in memory, so this is at most 512
/// MiB.
inline constexpr std::uint64_t gguf_array_elements_max = std::uint64_t{1} << 24;
/// Tensors of one file. A 126-layer model has about 1,200.
inline constexpr std::uint64_t gguf_tensor_count_max = 65'536;
/// The format gives 64 bytes to a tensor's name; some writers use more.
inline constexpr std::uint64_t gguf_tensor_name_bytes_max = 128;
inline constexpr std::uint32_t gguf_tensor_dimensions_max = 4;
/// Elements of one tensor: keeps every later product of sizes far from overflow.
inline constexpr std::uint64_t gguf_tensor_elements_max = std::uint64_t{1} << 48;
/// general.alignment: a multiple of 8 by the format; above a page it only wastes space.
inline constexpr std::uint64_t gguf_alignment_bytes_min = 8;
inline constexpr std::uint64_t gguf_alignment_bytes_max = 65'536;

// Model shapes (runtime/model/model_description): wide of every published model, and small enough
// that products of any three fit in 64 bits.

inline constexpr std::uint64_t model_layer_count_max = 1'024;
inline constexpr std::uint64_t model_hidden_size_max = std::uint64_t{1} << 17;
inline constexpr std::uint64_t model_intermediate_size_max = std::uint64_t{1} << 20;
inline constexpr std::uint64_t model_head_count_max = 1'024;
inline constexpr std::uint64_t model_head_dim_max = 1'024;
/// Token ids are 32-bit and signed; the largest vocabularies have 262,144 tokens.
inline constexpr std::uint64_t model_vocab_size_max = std::uint64_t{1} << 22;
/// Positions are counted in 32 bits and multiplied by frequencies in double.
inline constexpr std::uint64_t model_context_tokens_max = std::uint64_t{1} << 28;
inline constexpr double model_rms_epsilon_max = 0.1;
inline constexpr double model_rope_base_max = 1e12;
/// Factors of linear, llama3 and YaRN scaling. Published ones are 1 to 64.
inline constexpr double model_rope_factor_max = 4'096.0;
/// YaRN's bounds in rotations over the original context. Published: 32 and 1.
inline constexpr double model_yarn_beta_max = 1e6;

// Actors and gateways (actors/).

/// Protocols that one gateway serves at once.
inline constexpr std::size_t gateway_port_count_max = 8;
/// Transcripts kept for clients that resume, whatever the key resume_ms_max says.
inline constexpr std::size_t terminal_replies_max = 4'096;
/// Their bytes together, logprobs included; the oldest are forgotten beyond it. A reply with
/// logprob_entries_max entries takes about 100 MiB.
inline constexpr std::uint64_t terminal_replies_bytes_max = std::uint64_t{256} << 20;
/// Cancels remembered by a scheduler because they may have overtaken their request.
inline constexpr std::size_t cancel_tombstones_max = 4'096;
/// Payload bytes of all requests which are being prepared at once.
inline constexpr std::uint64_t preparing_bytes_max = std::uint64_t{256} << 20;
/// A VIP's payload up to this is tokenized by the gateway itself (about 0.2 ms at most): two
/// changes of thread would take longer. About 1,000 tokens.
inline constexpr std::uint64_t prepared_at_once_bytes_max = 4'096;
/// A step that runs longer means a worker that hangs: the process ends.
inline constexpr std::uint32_t step_deadline_ms_max = 120'000;
/// A replica may restart this often within the window before the process gives up.
inline constexpr std::uint32_t replica_restarts_max = 5;
inline constexpr std::uint32_t replica_restart_window_ms = 60'000;

/// Processor slices (kernels/base/thread_pool.hpp) of the threads that pass requests on: little
/// more than one message takes. Those that read and write sockets are busy under a flood: they come
/// before what computes, and give way to the others.
inline constexpr std::uint32_t prompt_slice_us = 100;
inline constexpr std::uint32_t port_slice_us = 500;

/// How often a draining server looks whether it was told to hurry.
inline constexpr std::uint32_t drain_poll_ms = 50;
/// The longest wait of a scheduler's deadline timer; a later deadline takes several.
inline constexpr std::uint32_t deadline_tick_ms_max = 1'000;

// Scheduling (runtime/schedule).

/// Of the blocks, the part that is kept back for the growth of what runs: a hundredth, and at least
/// one a sequence.
inline constexpr std::uint32_t growth_reserve_divisor = 100;
/// How many times step_ms_max a step may take while its request is the only one. Cuts spare nobody
/// then; but whoever comes meanwhile waits for the step to end, and they cost little (a prompt of
/// 512 tokens in two steps: 5 %).
inline constexpr std::uint32_t lone_prompt_steps = 2;
/// On CPUs, prompts that end in a step are computed before its other rows where they are so many
/// tokens and those so many rows. It costs one reading of the weights more (two cores with AMX, 256
/// tokens beside 15 decodes: 8 %) and saves the prompts what the others take (25 %); fewer tokens
/// leave threads waiting for weights (64: 19 %).
inline constexpr std::uint32_t cpu_first_part_tokens_min = 128;
inline constexpr std::uint32_t second_part_rows_min = 8;
/// How long after the last VIP steps stay short for the next one.
inline constexpr std::uint32_t vip_expected_ms = 5'000;
/// Of a VIP's promised time per token, what a step takes at most while all are ahead of it; and of
/// the usual step, what one is left where a VIP is behind.
inline constexpr double vip_step_share_max = 0.85;
inline constexpr double vip_step_share_min = 0.5;
/// A running sequence that other lanes keep out of steps gets a token after this time all the same,
/// and so many of them in one step.
inline constexpr std::uint32_t held_ms_max = 1'000;
inline constexpr std::uint32_t held_served_max = 4;
/// A running request is late when its deadline leaves it less for each token than so many times
/// what steps take of late, or what its last one took. So many of them are hurried at once, unless
/// it would take steps of less than so many times what they take alone.
inline constexpr double late_margin = 1.25;
inline constexpr std::size_t late_hurried_max = 8;
inline constexpr double late_step_times_min = 2.0;
/// Waiting requests that are looked at one by one to say whether a deadline can be met.
inline constexpr std::uint32_t deadline_scan_max = 1'024;
/// What asks for no time, and is promised none, is ordered as if it were due so long after its
/// arrival.
inline constexpr double undue_ms = 60'000.0;
/// Over how long the load of the lanes above is measured that a deadline has to reckon with.
inline constexpr double lane_load_window_ms = 30'000.0;
/// Between two plans of the composer.
inline constexpr std::uint32_t compose_interval_ms = 1'000;
/// So many intervals at most lie between two plans while searches find nothing better.
inline constexpr std::uint32_t compose_patience_max = 8;
/// By the wall clock a search may take so many times its processor time.
inline constexpr int compose_wall_ratio_max = 5;
/// Later requests that composed plans may let overtake an async request.
inline constexpr std::uint32_t passed_over_max = 512;
/// Tenants of a lane that have nothing waiting and are still known, because they were served more
/// than those that wait.
inline constexpr std::size_t resting_tenants_max = 1'024;
/// An async request that has waited for this long is admitted in realtime's stead, once in so many
/// admissions.
inline constexpr std::uint32_t async_aged_ms = 10'000;
inline constexpr std::uint32_t aged_start_stride = 8;

/// Waiting requests that one plan of asynchronous batches orders: max_num_batches of batch_size.
inline constexpr std::uint32_t composed_requests_max = 512;

// The tier below the device (actors/kv_pool, actors/scheduler).

/// How long a request waits for blocks of the lower tier before it recomputes. A prefill of one
/// block takes longer than a healthy answer from memory by far.
inline constexpr std::uint32_t kv_fetch_ms_max = 20;
/// Preempted sequences that are looked after in one step: what the device still has of them is
/// evicted last, and what it lacks is asked for.
inline constexpr std::size_t kv_returns_max = 8;
/// Share of a step's allowed duration that moving blocks may take beside it. Further evicted blocks
/// are dropped, further offers recomputed.
inline constexpr double transfer_share = 0.5;
/// Questions that the kv_pool has not answered; further requests recompute without asking.
inline constexpr std::size_t kv_finds_max = 256;
/// Steps whose evicted blocks the kv_pool has not taken; further ones are forgotten.
inline constexpr std::size_t kv_stores_max = 4;

// ZeroMQ (actors/gateway/zmq_port).

/// Connections known at once: those heard of within client_timeout_ms or with a request running.
inline constexpr std::size_t zmq_client_count_max = 65'536;
/// Frames taken from the socket before replies get their turn, three a message, and bytes of them:
/// a flood of 5 us a message keeps a reply waiting for 160 us at most.
inline constexpr std::size_t zmq_receive_burst_max = 96;
inline constexpr std::size_t zmq_receive_burst_bytes_max = std::size_t{256} << 10;
/// Payload of messages other than a submit: a resume of 16 sequences takes 160 bytes.
inline constexpr std::size_t control_payload_bytes_max = 4096;
/// Replies that are written before the socket is read again, tries with those that had waited for
/// their readers, and quiet clients probed; of the vip lane's replies more.
inline constexpr std::size_t zmq_send_burst_max = 64;
inline constexpr std::size_t zmq_send_burst_vip_max = 256;
/// Messages that libzmq queues for one connection before it reports a full pipe.
inline constexpr int zmq_pipe_messages_max = 1'000;
/// How soon parked replies are tried again.
inline constexpr std::uint32_t zmq_parked_retry_ms = 5;
/// A resume replays its stream in one burst: more than outbox_bytes_max is borne while the client
/// takes some of it within this time, up to zmq_replay_bytes_max.
inline constexpr std::uint32_t zmq_stuck_ms_max = 1'000;
inline constexpr std::size_t zmq_replay_bytes_max = std::size_t{16} << 20;
/// The kernel's own buffer for a connection: small, so that a reader which is stuck shows soon.
inline constexpr int zmq_send_buffer_bytes = 256 << 10;

// Tokenizers (runtime/text/tokenizer). The vocabulary itself is bounded by model_vocab_size_max.

/// One token as the file spells it. The longest in use are 256 spaces in two-byte letters.
inline constexpr std::uint64_t token_text_bytes_max = 4'096;
/// One token of a vocabulary without merges: finding its pairs takes quadratic time in its length.
/// Published ones stay below 64 bytes.
inline constexpr std::uint64_t token_piece_bytes_max = 256;
/// One control or user-defined token: bounds the work for each character of a text.
inline constexpr std::uint64_t added_token_bytes_max = 256;
/// Pairs that merge. The largest published vocabularies have 520,000.
inline constexpr std::uint64_t token_merge_count_max = std::uint64_t{1} << 22;
/// Text for one call of the tokenizer; callers bound prompts far below this.
inline constexpr std::uint64_t tokenizer_text_bytes_max = std::uint64_t{1} << 30;

// Stop strings of one request (runtime/text/stop_strings). OpenAI allows 4.

inline constexpr std::size_t stop_string_count_max = 64;
inline constexpr std::size_t stop_string_bytes_max = 1'024;

// Replies that wait for a client's socket (actors/gateway, every protocol).

/// Bytes of one connection's replies that the kernel has not taken yet. A token's event is about
/// 250 bytes, so this is 4,000 tokens behind: a reader that slow is gone or stuck.
inline constexpr std::size_t outbox_bytes_max = std::size_t{1} << 20;

/// Files that `troupe serve` asks the system for: every connection of both protocols is one.
inline constexpr std::uint64_t open_files_wanted = 65'536;

// HTTP (actors/gateway/http_port).

/// Connections at once. Each costs a file descriptor and about 20 KiB when idle.
inline constexpr std::size_t http_session_count_max = 1'024;
/// Connections beyond that at the same time, whose head decides: each may ask one question of a
/// probe (/health, /metrics, /version), a request of the vip lane goes on below, and anything else
/// hears 503. The oldest gives way to one more.
inline constexpr std::size_t http_reserve_session_count_max = 128;
/// How long such a connection may take to ask: places in the reserve come free soon.
inline constexpr std::uint32_t http_reserve_ms_max = 2'000;
/// Connections beyond both whose requests are the vip lane's.
inline constexpr std::size_t http_important_session_count_max = 128;
/// When all are taken, a connection that has waited this long for a request gives way to a new one.
inline constexpr std::uint32_t http_give_way_ms_min = 1'000;
/// Request line and header fields.
inline constexpr std::uint32_t http_header_bytes_max = 16'384;
/// Bodies of all connections together, from their arrival until they are parsed.
inline constexpr std::uint64_t http_bodies_bytes_max = std::uint64_t{128} << 20;
/// The same for the connections above that are the vip lane's.
inline constexpr std::uint64_t http_important_bodies_bytes_max = std::uint64_t{32} << 20;
/// Bytes read ahead while a request is answered (pipelined requests). Reading pauses beyond it.
inline constexpr std::size_t http_pipeline_bytes_max = 65'536;
/// From a request's first byte to its last.
inline constexpr std::uint32_t http_request_ms_max = 30'000;
/// A kept-alive connection without a request. Longer than the 60 s of most proxies, so that the
/// proxy and not we close it under a request that is on its way.
inline constexpr std::uint32_t http_idle_ms_max = 75'000;
/// Queued bytes of which the kernel takes none: the reader stopped reading.
inline constexpr std::uint32_t http_write_ms_max = 30'000;
/// One event may be large (an echo with logprobs): a stream may be more than outbox_bytes_max
/// behind while the client takes some of it within this time, up to http_behind_bytes_max.
inline constexpr std::uint32_t http_stuck_ms_max = 1'000;
inline constexpr std::size_t http_behind_bytes_max = std::size_t{64} << 20;
/// Reading on after a refusal, so that the client sees the reply and not a reset.
inline constexpr std::uint32_t http_linger_ms_max = 2'000;
/// How often the waits above are checked.
inline constexpr std::uint32_t http_sweep_ms = 250;
// --- Messages: frames of the client wire and HTTP bodies
// ------------------------------------------------

/// A header frame. Seven short fields and a request id of 128 bytes need about 180.
inline constexpr std::size_t header_bytes_max = 512;
/// A payload frame or HTTP body, about four times prompt_bytes_max: room for the prompt with most
/// of its bytes escaped or as token ids. A longer one is answered with an error; libzmq drops the
/// connection of a peer which sends a frame of more than twice this, before it is in memory.
inline constexpr std::size_t payload_bytes_max = 8u << 20;
/// Nesting of arrays and maps in a payload or body. Tool schemas are the deepest thing seen:
/// about 12.
inline constexpr std::size_t payload_depth_max = 32;
/// Values of a payload together, keys included; more than the longest prompt as token ids.
inline constexpr std::size_t payload_elements_max = 512u << 10;
/// Keys of one map, because ordered JSON objects are searched linearly.
inline constexpr std::size_t map_keys_max = 1024;
/// Keys of all maps of one payload; with map_keys_max it bounds that search to 3e7 comparisons.
inline constexpr std::size_t payload_keys_max = 64u << 10;
/// A client's request id: printable ASCII.
inline constexpr std::size_t request_id_bytes_max = 128;
/// Deadlines, from arrival: seven days, so that sums of times cannot overflow.
inline constexpr std::uint64_t deadline_ms_max = 7ull * 24 * 3600 * 1000;

// --- Requests: parameters of one request
// ----------------------------------------------------------------

/// Text of one prompt: 4 bytes a token for a context of 512k tokens.
inline constexpr std::size_t prompt_bytes_max = 2u << 20;
/// Prompts of one HTTP completion request.
inline constexpr std::size_t prompts_per_request_max = 64;
/// Sequences of one request.
inline constexpr std::int64_t n_max = 16;
/// Sequences of one HTTP request, over all of its prompts.
inline constexpr std::size_t choices_per_request_max = 256;
inline constexpr double temperature_max = 100.0;
inline constexpr double repetition_penalty_min = 0.01;
inline constexpr double repetition_penalty_max = 100.0;
/// Presence and frequency penalties lie in [-2, 2], as OpenAI defines them.
inline constexpr double penalty_abs_max = 2.0;
inline constexpr double logit_bias_abs_max = 100.0;
inline constexpr std::size_t logit_bias_count_max = 1024;
/// Stop strings: the detokenizer holds back up to stop_bytes_max bytes, and tests each string per
/// token.
inline constexpr std::size_t stop_count_max = 16;
inline constexpr std::size_t stop_bytes_max = 256;
inline constexpr std::size_t stop_token_ids_max = 128;
/// Alternatives reported for each token, of the output and of the prompt.
inline constexpr std::int64_t logprobs_max = 20;
/// Alternatives and chosen tokens that one request may have reported, over all positions and
/// sequences (over HTTP: over all prompts of a body too). An entry takes about 100 bytes.
inline constexpr std::uint64_t logprob_entries_max = 1'000'000;
/// Magnitude of a request's priority.
inline constexpr std::int64_t priority_abs_max = 1'000'000;
// Memory and scheduling.

/// Token positions of one KV block. A whole block is gathered on the stack to be hashed (1 KiB).
inline constexpr std::uint32_t block_tokens_max = 256;
/// Blocks of one pool; at 16 positions each that is 268 million positions, above any device of
/// today.
inline constexpr std::uint32_t block_count_max = 1u << 24;
/// Positions of one sequence: 2^22, four times the longest context window published so far.
inline constexpr std::uint32_t model_len_max = 1u << 22;
/// Sequences that hold blocks at once, so also the sequences (n) of one request.
inline constexpr std::uint32_t num_seqs_max = 1u << 16;
/// Requests that wait in all lanes of one scheduler.
inline constexpr std::uint32_t num_queued_reqs_max = 1u << 20;

// ---- chat templates (runtime/text/jinja). A template comes with a model file and is not trusted.

/// Bytes of template source. The longest published templates are about 30 KB.
inline constexpr std::size_t template_source_bytes_max = 1u << 20;
/// Nesting of expressions and statements in the source: bounds the parser's stack.
inline constexpr int template_nesting_max = 120;
/// Nested evaluations at run time, through macros and loops: bounds the interpreter's stack at
/// about 1 KiB each in release builds (under 8 KiB with sanitizers).
inline constexpr int template_recursion_max = 500;
/// Nodes evaluated and elements touched in one rendering; about a second at the very worst.
inline constexpr std::uint64_t template_steps_max = 10'000'000;
/// Bytes of the rendered prompt.
inline constexpr std::size_t template_output_bytes_max = 64u << 20;
/// Bytes of one string that a template makes.
inline constexpr std::size_t template_string_bytes_max = 64u << 20;
/// Bytes of all the values that one rendering makes, freed ones included.
inline constexpr std::size_t template_allocated_bytes_max = 512u << 20;
/// Elements of range(...), as in Jinja's own sandbox.
inline constexpr std::int64_t template_range_length_max = 100'000;
/// Nesting of lists and dicts, in the inputs and in what a template builds.
inline constexpr int template_value_depth_max = 100;
/// Elements of one list or dict, those of what it holds included and shared ones counted each time.
inline constexpr std::size_t template_value_weight_max = 10'000'000;

// The load client (bench/serve).

/// Requests of one load; each keeps its prompt and the times of its tokens.
inline constexpr std::size_t bench_request_count_max = 1'000'000;
/// Requests in flight at once: each HTTP one takes a file descriptor.
inline constexpr std::size_t bench_concurrency_max = 16'384;
/// A file of conversations. The largest published ShareGPT files have 700 MB.
inline constexpr std::uint64_t bench_dataset_bytes_max = std::uint64_t{4} << 30;
/// Rounds of decoding and encoding until a random prompt has its length; nearly all need fewer than
/// five.
inline constexpr int bench_prompt_tries_max = 64;
/// One server-sent event of a completion.
inline constexpr std::size_t bench_event_bytes_max = std::size_t{8} << 20;
/// What is kept of the body of an answer that refuses.
inline constexpr std::size_t bench_refusal_bytes_max = 4'096;
/// Different messages of failed requests that a report keeps.
inline constexpr std::size_t bench_failure_texts_max = 10;
/// How often the deadlines of all requests are checked.
inline constexpr std::uint32_t bench_sweep_ms = 250;
/// ZeroMQ: silence after which the server is asked for a sign of life, and after which it is gone.
inline constexpr std::uint32_t bench_ping_ms = 1'000;
inline constexpr std::uint32_t bench_server_silence_ms_max = 10'000;

// Configuration files (config/load).

// The simulator (runtime/simulate).

/// Requests of one run. Each takes about 100 bytes.
inline constexpr std::uint32_t simulated_request_count_max = 20'000'000;
/// Virtual time of one run: three years, far from the end of nanoseconds in 64 bits.
inline constexpr double simulated_seconds_max = 1e8;
/// A single time of a scenario, as a target, a deadline or a pause: a day.
inline constexpr double simulated_wait_ms_max = 24.0 * 3600e3;
/// Policies and machines of one scenario that are run side by side.
inline constexpr std::size_t scenario_way_count_max = 16;
/// A scenario file.
inline constexpr std::size_t scenario_bytes_max = 1u << 20;
/// A trace file: simulated_request_count_max lines of 40 bytes and more.
inline constexpr std::uint64_t trace_bytes_max = std::uint64_t{1} << 30;
/// Entries of `tenants`: each request of a ZeroMQ client that is new looks through their
/// identities.
inline constexpr std::size_t tenant_count_max = 1'024;
/// Keys and identities of one tenant.
inline constexpr std::size_t tenant_key_count_max = 256;
/// A ZeroMQ routing id has at most 255 bytes.
inline constexpr std::size_t zmq_identity_bytes_max = 255;

/// Bytes of a configuration file.
inline constexpr std::size_t config_bytes_max = 1u << 20;

}  // namespace troupe::limits
