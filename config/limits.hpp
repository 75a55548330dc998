// Every bound in one place (design, invariant 5). A limit says what it counts, its unit, and why it
// has its value. Nothing here is configurable: what a user may tune lives in the configuration,
// below these.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::limits {

// --- Messages: frames of the client wire and HTTP bodies
// ------------------------------------------------

/// A header frame. Seven short fields and a request id of 128 bytes need about 180.
inline constexpr std::size_t header_bytes_max = 512;
/// A payload frame or HTTP body: a prompt of prompt_bytes_max as JSON, where a byte may take six.
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
/// A client sends a frame at least this often while it waits for anything.
inline constexpr std::uint64_t heartbeat_ms = 2000;
/// A client that was silent for this long is gone: its requests are cancelled once resume_ms_max
/// has passed.
inline constexpr std::uint64_t client_timeout_ms = 10'000;
/// How long a terminal reply, or a request without its client, waits for a resume.
inline constexpr std::uint64_t resume_ms_max = 30'000;

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
/// Magnitude of a request's priority.
inline constexpr std::int64_t priority_abs_max = 1'000'000;

}  // namespace troupe::limits
